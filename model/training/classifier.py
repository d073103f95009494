"""The fine-tuning of a Hugging Face classifier on labelled texts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from model.checkpoints.loading import label_names
from model.engine.execution import Execution, check_finite, resolve_execution
from model.engine.gpus import device_named
from model.errors import InputError
from model.exits.teacher import padded_inputs, teacher_logits
from model.tokens.max_length import choose_max_length, position_limit
from model.tokens.tokenization import TokenizedTexts, tokenize
from model.training.batching import bucketed_batches, step_seed
from model.training.labelled_texts import LabelledTexts
from model.training.loop import StepReport, TrainingConfig, ignore, training_steps


@dataclass(frozen=True, kw_only=True)
class FinetuningEpoch:
    """How a classifier does after an epoch.

    Attributes:
        epoch: from 1.
        loss: mean of the epoch's steps, in nats.
        accuracy: share of the evaluation's rows whose label it predicts; None without evaluation.
    """

    epoch: int
    loss: float
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class FinetuningResult:
    """How a fine-tuning went.

    Attributes:
        epochs: all of them, in order.
        accuracy: of the epoch whose weights the classifier has; None without evaluation.
    """

    epochs: list[FinetuningEpoch]
    accuracy: float | None


def finetune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: LabelledTexts,
    config: TrainingConfig,
    *,
    max_length: int | None = None,
    evaluation: LabelledTexts | None = None,
    execution: Execution | None = None,
    on_step: Callable[[StepReport], None] = ignore,
    on_epoch: Callable[[FinetuningEpoch], None] = ignore,
) -> FinetuningResult:
    """Train all weights of a classifier on labelled texts.

    Args:
        model: a sequence classifier in float32, from `load_for_finetuning` or transformers; its configuration
            names the labels. Trained in place, and in eval mode afterwards.
        tokenizer: its own.
        rows: what to train on.
        config: how.
        max_length: tokens that a text is cut to; None for what the model takes, at most 512.
        evaluation: texts that the classifier is judged by after each epoch; the weights of the best epoch, of
            equal ones the first, are restored at the end. None keeps the last epoch's.
        execution: what to train on, in the model's own number format; None for a GPU where there is one.
        on_step: told of every step.
        on_epoch: told of every epoch.

    Raises:
        ParameterError: if the model does not take `max_length` tokens.
        InputError: if there is no row, or one has a label that the model does not know.
        TrainingError: if a loss or a gradient is not finite; the step is then not taken.
    """
    execution = execution or resolve_execution()
    max_length = choose_max_length(max_length, position_limit(model, tokenizer))
    examples = _Examples.of(model, tokenizer, rows, max_length)
    best = None
    if evaluation is not None:
        held_out = _Examples.of(model, tokenizer, evaluation, max_length)
        best = _BestEpoch(model, tokenizer, held_out, execution.token_budget)
    home = model.device
    model.to(device_named(execution.device)).train()
    steps = training_steps(
        model,
        config,
        batches=partial(_batches, examples, config),
        steps_per_epoch=-(-len(rows) // config.batch_size),
        backward=partial(_backward, model, tokenizer, examples),
    )
    epochs: list[FinetuningEpoch] = []
    try:
        for epoch in _epochs(steps, best, on_step):
            epochs.append(epoch)
            on_epoch(epoch)
            model.train()
    finally:
        if best is not None:
            best.restore()
        model.to(home).eval()
    return FinetuningResult(epochs=epochs, accuracy=best.accuracy if best else None)


@dataclass(frozen=True, kw_only=True)
class _Examples:
    """Tokenised texts and the ids of their labels, (rows,) int64."""

    texts: TokenizedTexts
    label_ids: Tensor

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
        label_to_id = {label: index for index, label in enumerate(label_names(model.config))}
        if unknown := sorted(set(rows.labels).difference(label_to_id)):
            raise InputError(f"the model has no label {', '.join(map(repr, unknown[:5]))}")
        return cls(
            texts=tokenize(tokenizer, rows.texts, rows.text_pairs, max_length=max_length),
            label_ids=torch.tensor([label_to_id[label] for label in rows.labels]),
        )


class _BestEpoch:
    """The weights of a classifier after the epoch in which it was most accurate."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: _Examples,
        token_budget: int,
    ) -> None:
        self._model, self._tokenizer, self._examples = model, tokenizer, examples
        self._token_budget = token_budget
        self._weights: dict[str, Tensor] = {}
        self.accuracy = -1.0

    def evaluate(self) -> float:
        """Return the accuracy of the classifier as it is now, and remember its weights if it is the best."""
        self._model.eval()
        logits = teacher_logits(
            self._model, self._tokenizer, self._examples.texts, token_budget=self._token_budget
        )
        check_finite(logits)
        accuracy = float((logits.argmax(axis=1) == self._examples.label_ids.numpy()).mean())
        if accuracy > self.accuracy:
            self.accuracy = accuracy
            self._weights = {name: value.clone() for name, value in self._model.state_dict().items()}
        return accuracy

    def restore(self) -> None:
        """Give the classifier the weights that it was best with, once an epoch was judged."""
        if self._weights:
            self._model.load_state_dict(self._weights)


def _epochs(
    steps: Iterable[StepReport], best: _BestEpoch | None, on_step: Callable[[StepReport], None]
) -> Iterator[FinetuningEpoch]:
    """Take the steps, tell of each, and yield how the classifier does after every epoch."""
    losses: list[float] = []
    for report in steps:
        losses.append(report.loss)
        on_step(report)
        if report.finished_epoch is not None:
            accuracy = best.evaluate() if best else None
            loss = sum(losses) / len(losses)
            yield FinetuningEpoch(epoch=report.finished_epoch, loss=loss, accuracy=accuracy)
            losses.clear()


def _batches(examples: _Examples, config: TrainingConfig, epoch: int) -> Iterator[list[int]]:
    """Yield the rows of each batch of an epoch."""
    generator = torch.Generator().manual_seed(step_seed(config.seed, epoch))
    return bucketed_batches(torch.from_numpy(examples.texts.lengths), config.batch_size, generator=generator)


def _backward(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: _Examples, rows: list[int]
) -> Tensor:
    """Add the gradients of a batch, and return its cross-entropy, a float32 scalar."""
    inputs = padded_inputs(tokenizer, examples.texts.take(np.array(rows)), model.device)
    logits = model(**inputs).logits
    loss = functional.cross_entropy(logits, examples.label_ids[rows].to(logits.device))
    loss.backward()
    return loss.detach()
