"""The training of a FastBERT's branches around its frozen backbone."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn

from model.engine.engine import Engine
from model.engine.execution import Execution, resolve_execution
from model.errors import InputError, ParameterError
from model.fastbert import FastBertForSequenceClassification
from model.training.branch_batches import BranchBatch, BranchBatches, tokenize_labelled
from model.training.branch_learners import BranchLearners, steps_per_round
from model.training.distillation_config import DistillationConfig, max_epochs
from model.training.distillation_result import (
    DistillationResult,
    RoundQualities,
    TrainedBranch,
)
from model.training.loop import StepReport, constant_after_warmup, ignore, training_steps
from model.training.ranks import ONE_PROCESS, Ranks, sum_gradients
from model.training.resume import TrainingState
from model.training.self_distillation import BranchQuality, branch_gradients, branch_qualities
from model.training.soft_labelled_texts import SoftLabelledTexts, SoftLabelSource, concatenate
from model.training.teacher_targets import TeacherTargets
from model.training.training_config import TrainingConfig

Judge = Callable[[nn.ModuleList], tuple[BranchQuality, ...]]

# Passes where no text is held out to say when a branch has converged: a corpus of some dozen texts.
_UNJUDGED_EPOCHS = 10
_ROWS_TO_COMPARE = 2000


def backbone_engine(model: FastBertForSequenceClassification, execution: Execution) -> Engine:
    """Return the backbone of `model` made ready to be trained on; the model stays what it is."""
    return Engine.for_classifier(model.backbone, execution, pad_token_id=model.tokenizer.pad_token_id)


def train_branches(
    model: FastBertForSequenceClassification,
    source: SoftLabelSource,
    config: DistillationConfig,
    *,
    engine: Engine | None = None,
    held_out: SoftLabelledTexts | None = None,
    is_continued: bool = False,
    state: TrainingState | None = None,
    on_step: Callable[[StepReport], None] = ignore,
    on_round: Callable[[RoundQualities], None] = ignore,
    ranks: Ranks = ONE_PROCESS,
) -> DistillationResult:
    """Train all branches on a teacher's answers, in one pass per epoch over the frozen backbone.

    Every branch trains until its KL on texts held out falls no more, or for as many epochs as are asked for,
    and keeps the best of its states.

    Self-distillation of Liu et al. 2020, section 3.3: the teacher may be the model's own last layer, or any
    classifier of the same labels. Branches are models of their own: how one is trained depends on no other.

    Args:
        model: its branches are trained in place, in float32; its backbone is read alone.
        source: what to train on.
        config: how.
        engine: from `backbone_engine`; None makes one of what this machine computes fastest with.
        held_out: texts that the branches are judged by after each round, of an epoch or some thousand steps;
            None for no judgement.
        is_continued: whether the branches are trained already: they are judged before the first step, and one
            that gets no better by these texts stays what it was.
        state: where to save and resume; None for neither. Of several processes the first's counts for all.
        on_step: told of every step.
        on_round: told how the branches do after every round, where texts are held out; after a kill, of the
            last one again.
        ranks: the processes that train together, each with the same arguments but these. A step is the same
            but for rounding however many they are.

    Raises:
        InputError: if there is nothing to train on, the soft labels are of other labels, or are one score.
        ParameterError: if the branches are not in float32.
        TrainingError: if a branch's loss or gradient is not finite; the step is then not taken.
        ArtifactError: if `state` is another training's.
        ItemError: if another process has ended.
    """
    engine = engine or backbone_engine(model, resolve_execution())
    steps_per_epoch = source.steps_per_epoch(config.batch_size)
    _check(model, steps_per_epoch)
    targets = TeacherTargets.of(model.task, source, seed=config.seed)
    home = next(model.branches.parameters()).device
    # Before what is counted beside them, which is asked for at every step and stays with the host.
    model.branches.to(engine.device)
    if is_continued:
        targets.rescale(model.branches)
    learners = BranchLearners(model.branches, rest_when_converged=config.epochs is None)
    judge_by = partial(_judge, model, engine, ranks)
    judge = None if held_out is None else judge_by(targets.scaled(held_out))
    if judge and is_continued:
        learners.begin([quality.kl for quality in judge(learners.branches)])
    training = _training_config(config, max_epochs(steps_per_epoch) if judge else _UNJUDGED_EPOCHS)
    steps = training_steps(
        learners,
        training,
        batches=BranchBatches(
            model, engine, targets, batch_size=config.batch_size, seed=config.seed, ranks=ranks
        ),
        steps_per_epoch=steps_per_epoch,
        backward=partial(_backward, learners, engine, config, ranks),
        schedule=constant_after_warmup,
        parts={f"branch after layer {layer}": branch for layer, branch in enumerate(model.branches, start=1)},
        parallel_map=engine.parallel_map,
        state=state,
        ranks=ranks,
    )
    rounds: list[RoundQualities] = []
    try:
        # Where all branches rest before the last step, the steps are closed.
        with closing(steps):
            for qualities in _rounds(learners, engine, steps, steps_per_epoch, judge, on_step):
                rounds.append(qualities)
                on_round(qualities)
        learners.finish()
        trained = (
            _trained_branches(learners, judge, judge_by(_texts_to_compare(targets, config))) if judge else ()
        )
        targets.unscale(model.branches)
    finally:
        model.branches.to(home)
    return DistillationResult(
        epochs=int(learners.num_steps) / steps_per_epoch, rounds=rounds, branches=trained
    )


def _rounds(
    learners: BranchLearners,
    engine: Engine,
    steps: Iterator[StepReport],
    steps_per_epoch: int,
    judge: Judge | None,
    on_step: Callable[[StepReport], None],
) -> Iterator[RoundQualities]:
    """Take the steps, and yield how the branches do after each round, until they are over or all rest."""
    num_steps = steps_per_round(steps_per_epoch)
    while (report := engine.run_on_driver_thread(lambda: next(steps, None))) is not None:
        learners.count_step(engine.parallel_map)
        on_step(report)
        if judge and (report.step == report.total_steps or report.step % num_steps == 0):
            qualities = judge(learners.averages)
            learners.judge([quality.kl for quality in qualities])
            yield RoundQualities(step=report.step, epochs=report.step / steps_per_epoch, branches=qualities)
            if learners.is_resting.all():
                return


def _training_config(config: DistillationConfig, most_epochs: int) -> TrainingConfig:
    """Return how long the loop may run, and how."""
    return TrainingConfig(
        epochs=config.epochs or most_epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        seed=config.seed,
    )


def _judge(
    model: FastBertForSequenceClassification, engine: Engine, ranks: Ranks, labels: SoftLabelledTexts
) -> Judge:
    """Return what compares branches with the teacher on some texts, which are tokenised once."""
    texts = tokenize_labelled(model, labels)
    return lambda branches: tuple(
        branch_qualities(engine.with_branches(branches), texts, labels.logits, ranks=ranks)
    )


def _check(model: FastBertForSequenceClassification, steps_per_epoch: int) -> None:
    """Refuse what cannot be trained."""
    dtype = next(model.branches.parameters()).dtype
    if dtype != torch.float32:
        raise ParameterError(f"`model` has branches in {dtype}; load it in float32 to train them")
    if not steps_per_epoch:
        raise InputError("there are no soft-labelled texts to train on")


def _backward(
    learners: BranchLearners, engine: Engine, config: DistillationConfig, ranks: Ranks, batch: BranchBatch
) -> Tensor:
    """Give the branches the gradients of a batch, and return the loss of each, (branches,) float32."""
    is_left_out = learners.is_resting.tolist()
    losses = _own_losses(learners, engine, config, batch, is_left_out)
    learning = (branch for branch, rests in zip(learners.branches, is_left_out, strict=True) if not rests)
    return sum_gradients(ranks, learning, losses)


def _own_losses(
    learners: BranchLearners,
    engine: Engine,
    config: DistillationConfig,
    batch: BranchBatch,
    is_left_out: Sequence[bool],
) -> Tensor:
    """Add the gradients of this process's rows to the branches', and return what they add to the losses."""
    logits, num_labels = batch.labels.logits, len(engine.labels)
    if logits.shape[1] != num_labels:
        raise InputError(
            f"the soft labels have {logits.shape[1]} logits, and the model has {num_labels} labels"
        )
    if not len(batch.labels):
        # Of a last batch that is smaller than there are processes.
        return torch.zeros(len(learners.branches), device=engine.device)
    true_labels = batch.labels.true_labels
    return branch_gradients(
        learners.branches,
        engine,
        batch.states(),
        batch.rows,
        torch.from_numpy(logits).to(engine.device),
        is_left_out=is_left_out,
        direction=config.kl_direction,
        hard_label_weight=config.hard_label_weight,
        true_labels=None if true_labels is None else torch.from_numpy(true_labels).to(engine.device),
        true_label_weight=config.true_label_weight,
        share=batch.share,
    )


def _texts_to_compare(source: SoftLabelSource, config: DistillationConfig) -> SoftLabelledTexts:
    """Return some of the texts that branches learnt from."""
    batches = source.batches(0, batch_size=config.batch_size, seed=config.seed)
    return concatenate(list(islice(batches, -(-_ROWS_TO_COMPARE // config.batch_size))))


def _trained_branches(
    learners: BranchLearners, judge: Judge, judge_by_seen: Judge
) -> tuple[TrainedBranch, ...]:
    """Return how every branch ended."""
    seen, unseen = judge_by_seen(learners.branches), judge(learners.branches)
    return tuple(
        TrainedBranch.of(
            held_out,
            train_kl=trained.kl,
            fall=None if math.isnan(fall) else fall,
            has_converged=has_converged,
        )
        for held_out, trained, fall, has_converged in zip(
            unseen, seen, learners.falls.tolist(), learners.has_converged.tolist(), strict=True
        )
    )
