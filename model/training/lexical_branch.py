"""The training of a lexical branch: the teacher's answers to all texts, learnt from their n-grams alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import partial

import torch

from model.answers.task import Task
from model.engine.core_pool import CorePool
from model.errors import InputError, ParameterError
from model.fastbert import FastBertForSequenceClassification
from model.network.lexical_branch import LexicalBranch, max_ngrams
from model.training.distillation_config import DistillationConfig, max_epochs
from model.training.distillation_result import TrainedBranch
from model.training.lexical_texts import (
    LexicalBatch,
    LexicalPasses,
    LexicalTexts,
    lexical_batches,
    shared_ngrams,
)
from model.training.loop import ignore
from model.training.self_distillation import BranchQuality, self_distillation_loss
from model.training.soft_labelled_texts import SoftLabelledTexts, SoftLabelSource
from model.training.teacher_targets import TeacherTargets

# Chosen by measurement (docs/performance.md). The vector of an n-gram is seen seldom, and takes larger steps.
_BATCH_SIZE = 64
_EMBEDDING_LEARNING_RATE, _LEARNING_RATE = 5e-3, 1e-3
# Where the KL on held-out texts falls by less, the learning rates are lowered; after so often training ends.
_MIN_FALL = 0.01
_LOWERED_TO, _MOST_LOWERINGS = 0.3, 3
# Passes where no text is held out to judge by.
_UNJUDGED_PASSES = 10
# Of a large corpus, texts between two judgements once all have been seen.
_ROUND_TEXTS = 1 << 18
_TEXTS_TO_COMPARE = 2000
_MEGABYTE = 1_000_000


def check_lexical_branch(
    *, megabytes: float, num_labels: int, num_texts: int, task: Task = Task.ONE_LABEL
) -> None:
    """Refuse a lexical branch that nothing can be taught.

    Args:
        megabytes: that it may take; 0 for no lexical branch, which all is well with.
        num_labels: of the model.
        num_texts: to learn from.
        task: of the model.

    Raises:
        ParameterError: if it cannot hold an n-gram for each label.
        InputError: if there are fewer texts than labels.
    """
    if not megabytes:
        return
    if (most := max_ngrams(int(megabytes * _MEGABYTE), task.num_outputs(num_labels), task)) < num_labels:
        raise ParameterError(
            f"`lexical_size` {megabytes:g} MB holds {most} n-grams, fewer than the {num_labels} labels; give "
            "more, or 0 for no lexical branch"
        )
    if num_texts < num_labels:
        raise InputError(
            f"{num_texts} texts to train on are too few for a lexical branch of {num_labels} labels; label "
            "more, or give `lexical_size` 0 for none"
        )


def train_lexical_branch(
    model: FastBertForSequenceClassification,
    source: SoftLabelSource,
    config: DistillationConfig,
    *,
    held_out: SoftLabelledTexts | None = None,
    is_continued: bool = False,
    on_texts: Callable[[int], None] = ignore,
) -> TrainedBranch | None:
    """Give `model` a lexical branch that has learnt from all texts of a source, in float32 on the host.

    The first pass counts n-grams, those that follow learn, until the KL on texts held out falls no more. The
    learning rate, the number of passes and the size of a batch are its own.

    Args:
        model: gets the branch, or loses it, where `config` wants none.
        source: what to learn from; texts and logits are held in memory as far as they fit into a gigabyte.
        config: how.
        is_continued: whether the branch that the model has is trained on, with the n-grams that it knows.
        held_out: texts to judge by; None for a few passes without a judgement.
        on_texts: told of every so many texts that were read or learnt from.

    Returns:
        How it ended; None without a branch, or a judgement.

    Raises:
        ParameterError: if `config` gives it no room for an n-gram of each label.
        InputError: if there are fewer texts than labels, or they all have one score.
    """
    if not config.lexical_size:
        model.set_lexical_branch(None)
        return None
    check_lexical_branch(
        megabytes=config.lexical_size,
        num_labels=len(model.labels),
        num_texts=source.steps_per_epoch(batch_size=1),
        task=model.task,
    )
    # Sums of gradients must not depend on how many threads there are.
    pool = CorePool(torch.get_num_threads())
    known = model.lexical_branch if is_continued else None
    return pool.run_on_driver_thread(partial(_train, model, source, config, held_out, known, on_texts))


def _train(
    model: FastBertForSequenceClassification,
    source: SoftLabelSource,
    config: DistillationConfig,
    held_out: SoftLabelledTexts | None,
    known: LexicalBranch | None,
    on_texts: Callable[[int], None],
) -> TrainedBranch | None:
    targets = TeacherTargets.of(model.task, source, seed=config.seed)
    passes = LexicalPasses(model, targets, seed=config.seed, on_texts=on_texts)
    sep_token_id, num_outputs = model.tokenizer.sep_token_id, model.config.num_outputs
    at_most = max_ngrams(int(config.lexical_size * _MEGABYTE), num_outputs, model.task)
    table = known.table if known else shared_ngrams(passes(0), sep_token_id=sep_token_id, at_most=at_most)
    batches = partial(lexical_batches, table=table, sep_token_id=sep_token_id, batch_size=_BATCH_SIZE)
    # Of the first pass again: some texts in no order.
    sample = next(passes(0)).first(_TEXTS_TO_COMPARE)
    held_out_batches = (
        [] if held_out is None else list(batches(LexicalTexts.of(model, targets.scaled(held_out))))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        branch = (
            deepcopy(known)
            if known
            else LexicalBranch.of_table(table, num_outputs=num_outputs, task=model.task)
        )
        if known:
            targets.rescale([branch])
        learner = _Learner(branch, config, model.task)
        if known and held_out_batches:
            learner.begin(held_out_batches)
        most = max_epochs(source.steps_per_epoch(_BATCH_SIZE)) if held_out_batches else _UNJUDGED_PASSES
        has_converged = _learn(learner, map(passes, range(1, most + 1)), batches, held_out_batches)
    trained = None
    if held_out_batches:
        trained = TrainedBranch.of(
            learner.quality(held_out_batches),
            train_kl=learner.quality(list(batches(sample))).kl,
            fall=None,
            has_converged=has_converged,
        )
    targets.unscale([learner.branch])
    model.set_lexical_branch(learner.branch.eval())
    return trained


def _learn(
    learner: _Learner,
    passes: Iterable[Iterable[LexicalTexts]],
    batches: Callable[[LexicalTexts], Iterable[LexicalBatch]],
    held_out: Sequence[LexicalBatch],
) -> bool:
    """Learn pass after pass, and return whether the KL on `held_out`, where there are any, falls no more."""
    for index, texts_of_pass in enumerate(passes):
        num_texts = 0
        for texts in texts_of_pass:
            for batch in batches(texts):
                learner.learn(batch)
            num_texts += len(texts)
            if index and num_texts >= _ROUND_TEXTS:
                num_texts = 0
                if held_out and learner.has_converged(held_out):
                    return True
        if num_texts and held_out and learner.has_converged(held_out):
            return True
    return False


class _Learner:
    """A lexical branch in training, and the best of its states."""

    def __init__(self, branch: LexicalBranch, config: DistillationConfig, task: Task) -> None:
        self.branch, self._task = branch, task
        vectors = branch.embedding.weight
        others = [parameter for parameter in branch.parameters() if parameter is not vectors]
        self._optimizers = (
            torch.optim.SparseAdam([vectors], lr=_EMBEDDING_LEARNING_RATE),
            torch.optim.AdamW(others, lr=_LEARNING_RATE),
        )
        self._loss = partial(
            self_distillation_loss,
            task=task,
            direction=config.kl_direction,
            hard_label_weight=config.hard_label_weight,
            true_label_weight=config.true_label_weight,
        )
        self._best, self._best_kl, self._num_lowerings = deepcopy(branch.state_dict()), math.inf, 0

    def learn(self, batch: LexicalBatch) -> None:
        """Take a step."""
        self.branch.train()
        loss = self._loss(self.branch(batch.bag), batch.logits, true_labels=batch.true_labels)
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self._optimizers:
            optimizer.step()

    def begin(self, held_out: Sequence[LexicalBatch]) -> None:
        """Take the branch, as it is, for the best so far."""
        self._best_kl = self.quality(held_out).kl

    def has_converged(self, held_out: Sequence[LexicalBatch]) -> bool:
        """Judge the branch; where it hardly got better, go on from its best state in smaller steps.

        Returns:
            Whether smaller steps are of no use any more. The branch then has its best state.
        """
        kl = self.quality(held_out).kl
        has_fallen = kl < (1 - _MIN_FALL) * self._best_kl
        if kl < self._best_kl:
            self._best, self._best_kl = deepcopy(self.branch.state_dict()), kl
        if has_fallen:
            return False
        self.branch.load_state_dict(self._best)
        self._num_lowerings += 1
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] *= _LOWERED_TO
        return self._num_lowerings > _MOST_LOWERINGS

    @torch.no_grad()
    def quality(self, batches: Sequence[LexicalBatch]) -> BranchQuality:
        """Compare the branch with the teacher."""
        self.branch.eval()
        logits = torch.cat([self.branch(batch.bag) for batch in batches])
        teacher = torch.cat([batch.logits for batch in batches])
        return BranchQuality.of(0, logits, teacher, task=self._task)
