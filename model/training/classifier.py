"""The fine-tuning of a Hugging Face classifier on labelled texts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from model.checkpoints.loading import label_names, task_of
from model.engine.execution import Execution, Precision, check_finite, resolve_execution
from model.engine.gpus import device_named
from model.errors import InputError, ParameterError
from model.exits.teacher import padded_inputs, teacher_logits
from model.tokens.max_length import choose_max_length, position_limit
from model.tokens.tokenization import TokenizedTexts, tokenize
from model.training.batching import bucketed_batches, step_seed
from model.training.finetuning.head import begin_at
from model.training.finetuning.learner import FinetuningEpoch, FinetuningLearner
from model.training.finetuning.objective import Objective, make_targets
from model.training.finetuning.quality import QualityReport, judge_answers
from model.training.finetuning.settings import BestBy, FinetuningSettings
from model.training.labelled_texts import LabelledTexts
from model.training.loop import StepReport, ignore, training_steps
from model.training.resume import TrainingState
from model.training.training_config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class FinetuningResult:
    """How a fine-tuning went.

    Attributes:
        epochs: all of them, in order, those of a run that was killed among them.
        best_epoch: whose weights the classifier has, from 1; None without evaluation, for the last one's.
        report: how the classifier as it is now does on the evaluation's rows; None without.
    """

    epochs: list[FinetuningEpoch]
    best_epoch: int | None = None
    report: QualityReport | None = None


def finetune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: LabelledTexts,
    config: TrainingConfig,
    settings: FinetuningSettings | None = None,
    *,
    max_length: int | None = None,
    evaluation: LabelledTexts | None = None,
    execution: Execution | None = None,
    state: TrainingState | None = None,
    on_step: Callable[[StepReport], None] = ignore,
    on_epoch: Callable[[FinetuningEpoch], None] = ignore,
) -> FinetuningResult:
    """Train all weights of a classifier on labelled texts, with the loss that transformers gives its task.

    Args:
        model: a sequence classifier in float32, from `load_for_finetuning` or transformers; its configuration
            names the labels and tells the task. Trained in place, and in eval mode afterwards.
        tokenizer: its own.
        rows: what to train on.
        config: how.
        settings: what else; None for the defaults.
        max_length: tokens that a text is cut to; None for what the model takes, at most 512.
        evaluation: texts that the classifier is judged by after each epoch; the weights of the best epoch are
            restored at the end. None keeps the last epoch's.
        execution: what to train on; of its precisions bf16 computes the passes through the network in
            bfloat16, by torch's autocast, and weights, optimizer and losses stay in float32. None for a GPU
            where there is one, in float32.
        state: where to save and resume; None for neither.
        on_step: told of every step.
        on_epoch: told of every epoch.

    Raises:
        ParameterError: if the model does not take `max_length` tokens, or the settings do not go with its
            task.
        InputError: if there is no row, or one has a label that the model does not know.
        TrainingError: if a loss or a gradient is not finite; the step is then not taken.
        ArtifactError: if `state` is another training's.
    """
    settings = settings or FinetuningSettings()
    settings.check(task_of(model.config))
    execution = execution or resolve_execution(Precision.FP32)
    if execution.precision is Precision.FP16:
        raise ParameterError("`precision` fp16 is too coarse to train in; give fp32 or bf16")
    max_length = choose_max_length(max_length, position_limit(model, tokenizer))
    examples = _Examples.of(model, tokenizer, rows, max_length)
    held_out = None if evaluation is None else _Examples.of(model, tokenizer, evaluation, max_length)
    home = model.device
    model.to(device_named(execution.device)).train()
    best_by = BestBy.choose(settings.best_by, task_of(model.config)) if held_out else None
    objective = Objective.of(model.config, examples.targets, settings.class_weights)
    begin_at(model, objective.best_constant(examples.targets))
    learner = FinetuningLearner(model, epochs=config.epochs, best_by=best_by)
    steps = _steps(learner, model, tokenizer, examples, objective, config, settings, execution, state)
    report = None
    try:
        for epoch in _finished_epochs(steps, learner, on_step):
            if held_out is not None:
                learner.judge(epoch, _judge(model, tokenizer, held_out, execution).quality)
            on_epoch(learner.epochs[epoch - 1])
            model.train()
    finally:
        learner.finish()
        model.eval()
    if held_out is not None:
        report = _judge(model, tokenizer, held_out, execution)
    model.to(home)
    return FinetuningResult(epochs=learner.epochs, best_epoch=learner.best_epoch, report=report)


@dataclass(frozen=True, kw_only=True)
class _Examples:
    """Tokenised texts and what they are to be answered with, see `make_targets`."""

    texts: TokenizedTexts
    targets: Tensor

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        rows: LabelledTexts,
        max_length: int,
    ) -> "_Examples":
        """Tokenise some rows.

        Raises:
            InputError: if there is none, or naming labels that the model does not know.
        """
        if not rows.texts:
            raise InputError("there are no labelled texts to train on or to judge by")
        targets = make_targets(rows.labels, model.config)
        return cls(
            texts=tokenize(tokenizer, rows.texts, rows.text_pairs, max_length=max_length), targets=targets
        )


def _judge(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: _Examples, execution: Execution
) -> QualityReport:
    """Say how the classifier as it is now does; it is in eval mode afterwards."""
    logits = teacher_logits(model.eval(), tokenizer, examples.texts, token_budget=execution.token_budget)
    check_finite(logits)
    labels = label_names(model.config)
    return judge_answers(logits, examples.targets, task=task_of(model.config), labels=labels)


def _steps(
    learner: FinetuningLearner,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: _Examples,
    objective: Objective,
    config: TrainingConfig,
    settings: FinetuningSettings,
    execution: Execution,
    state: TrainingState | None,
) -> Iterator[StepReport]:
    """Return what takes the steps, each on so many batches as are accumulated."""
    rows_per_step = config.batch_size * settings.gradient_accumulation
    return training_steps(
        learner,
        config,
        batches=partial(_batches, examples, rows_per_step, config.seed),
        steps_per_epoch=-(-len(examples.targets) // rows_per_step),
        backward=partial(_backward, model, tokenizer, examples, objective, config.batch_size, execution),
        state=state,
    )


def _finished_epochs(
    steps: Iterable[StepReport], learner: FinetuningLearner, on_step: Callable[[StepReport], None]
) -> Iterator[int]:
    """Take the steps, tell of each, and yield the number of every epoch that is over, from 1."""
    for report in steps:
        learner.count_step(report.epoch, report.loss)
        on_step(report)
        if report.finished_epoch is not None:
            yield report.finished_epoch


def _batches(examples: _Examples, rows_per_step: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Yield the rows of each step of an epoch."""
    generator = torch.Generator().manual_seed(step_seed(seed, epoch))
    return bucketed_batches(torch.from_numpy(examples.texts.lengths), rows_per_step, generator=generator)


def _backward(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: _Examples,
    objective: Objective,
    batch_size: int,
    execution: Execution,
    rows: list[int],
) -> Tensor:
    """Add the gradients of a step's rows, batch after batch, and return their loss, a float32 scalar."""
    weights = objective.row_weights(examples.targets[rows])
    weights = weights / weights.sum()
    total = torch.zeros((), device=model.device)
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        inputs = padded_inputs(tokenizer, examples.texts.take(np.array(part)), model.device)
        is_coarse = execution.precision is Precision.BF16
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=is_coarse):
            logits = model(**inputs).logits
        losses = objective.losses(logits, examples.targets[part].to(logits.device))
        loss = (losses * weights[start : start + batch_size].to(logits.device)).sum()
        loss.backward()
        total += loss.detach()
    return total
