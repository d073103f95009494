"""The training of a FastBERT's branches around its frozen backbone."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate

import torch
from torch import Tensor

from model.engine.engine import Engine
from model.engine.execution import Execution, resolve_execution
from model.errors import InputError, ParameterError
from model.exits.exit_logits import LayerStates
from model.fastbert import FastBertForSequenceClassification
from model.tokens.tokenization import TokenizedTexts, tokenize
from model.training.loop import StepReport, TrainingConfig, ignore, training_steps
from model.training.resume import TrainingState
from model.training.self_distillation import (
    BranchQuality,
    KlDirection,
    branch_gradients,
    branch_qualities,
)
from model.training.soft_labelled_texts import (
    SoftLabelledTexts,
    SoftLabelSource,
    concatenate,
    token_windows,
)


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How branches are trained.

    Attributes:
        training: how long, how fast and from which seed.
        kl_direction: which way the divergence from the teacher is taken.
        hard_label_weight: weight of the cross-entropy with the teacher's answer, added to the divergence.
    """

    training: TrainingConfig
    kl_direction: KlDirection = KlDirection.TEACHER_STUDENT
    hard_label_weight: float = 0.0

    def __post_init__(self) -> None:
        """Check what is not checked by the parts.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        if self.kl_direction not in list(KlDirection):
            raise ParameterError(
                f"`kl_direction` {self.kl_direction!r} is not one of {', '.join(KlDirection)}"
            )
        if not 0 <= self.hard_label_weight < math.inf:
            raise ParameterError(f"`hard_label_weight` {self.hard_label_weight} is not 0 or above")


@dataclass(frozen=True, kw_only=True)
class EpochQualities:
    """How the branches stand to the teacher after an epoch.

    Attributes:
        epoch: from 1.
        branches: one per layer but the last, in their order.
    """

    epoch: int
    branches: list[BranchQuality]


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """A batch, and where its texts stand among those whose states were computed at once."""

    labels: SoftLabelledTexts
    rows: slice
    states: Callable[[], LayerStates]


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
    state: TrainingState | None = None,
    on_step: Callable[[StepReport], None] = ignore,
    on_epoch: Callable[[EpochQualities], None] = ignore,
) -> list[EpochQualities]:
    """Train all branches on a teacher's answers, in one pass per epoch over the frozen backbone.

    Self-distillation of Liu et al. 2020, section 3.3: the teacher may be the model's own last layer, or any
    classifier of the same labels. Branches are models of their own: how one is trained depends on no other.

    Args:
        model: its branches are trained in place, in float32; its backbone is read alone.
        source: what to train on.
        config: how.
        engine: from `backbone_engine`; None makes one of what this machine computes fastest with.
        held_out: texts that the branches are judged by after each epoch; None for no judgement.
        state: where to save and resume; None for neither.
        on_step: told of every step.
        on_epoch: told how the branches do after every epoch, where texts are held out; after a kill, of the
            last one again.

    Returns:
        What `on_epoch` was told; epochs that an earlier run had finished are not among them.

    Raises:
        InputError: if there is nothing to train on, or the soft labels are of other labels.
        ParameterError: if the branches are not in float32.
        TrainingError: if a branch's loss or gradient is not finite; the step is then not taken.
        ArtifactError: if `state` is another training's.
    """
    engine = engine or backbone_engine(model, resolve_execution())
    steps_per_epoch = source.steps_per_epoch(config.training.batch_size)
    _check(model, steps_per_epoch)
    home = next(model.branches.parameters()).device
    model.branches.to(engine.device)
    steps = training_steps(
        model.branches,
        config.training,
        batches=partial(_batches, model, engine, source, config.training),
        steps_per_epoch=steps_per_epoch,
        backward=partial(_backward, model, engine, config),
        parts={f"branch after layer {layer}": branch for layer, branch in enumerate(model.branches, start=1)},
        state=state,
    )
    epochs: list[EpochQualities] = []
    try:
        while (report := engine.run_on_driver_thread(lambda: next(steps, None))) is not None:
            on_step(report)
            if report.finished_epoch is not None and held_out is not None:
                texts = _tokenize(model, held_out)
                qualities = branch_qualities(engine.with_branches(model.branches), texts, held_out.logits)
                epochs.append(EpochQualities(epoch=report.finished_epoch, branches=qualities))
                on_epoch(epochs[-1])
    finally:
        model.branches.to(home)
    return epochs


def _check(model: FastBertForSequenceClassification, steps_per_epoch: int) -> None:
    """Refuse what cannot be trained."""
    dtype = next(model.branches.parameters()).dtype
    if dtype != torch.float32:
        raise ParameterError(f"`model` has branches in {dtype}; load it in float32 to train them")
    if not steps_per_epoch:
        raise InputError("there are no soft-labelled texts to train on")


def _batches(
    model: FastBertForSequenceClassification,
    engine: Engine,
    source: SoftLabelSource,
    training: TrainingConfig,
    epoch: int,
) -> Iterator[_Batch]:
    """Yield the batches of an epoch."""
    batches = source.batches(epoch, batch_size=training.batch_size, seed=training.seed)
    # The backbone is frozen, so the states of many batches can be computed at once.
    for window in token_windows(batches, engine.chunk_tokens // (engine.num_layers - 1)):
        # Not before they are asked for: a resumed run skips what was done.
        states = cache(partial(_layer_states, model, engine, window))
        ends = accumulate(map(len, window))
        for labels, end in zip(window, ends, strict=True):
            yield _Batch(labels=labels, rows=slice(end - len(labels), end), states=states)


def _layer_states(
    model: FastBertForSequenceClassification, engine: Engine, window: list[SoftLabelledTexts]
) -> LayerStates:
    """Return what the branches see of all batches of a window."""
    return LayerStates(engine, _tokenize(model, concatenate(window)))


def _backward(
    model: FastBertForSequenceClassification, engine: Engine, config: DistillationConfig, batch: _Batch
) -> Tensor:
    """Add the gradients of a batch to the branches', and return the loss of each, (branches,) float32."""
    logits = batch.labels.logits
    if logits.shape[1] != model.config.num_labels:
        raise InputError(
            f"the soft labels have {logits.shape[1]} logits, "
            f"and the model has {model.config.num_labels} labels"
        )
    return branch_gradients(
        model.branches,
        engine,
        batch.states(),
        batch.rows,
        torch.from_numpy(logits).to(engine.device),
        direction=config.kl_direction,
        hard_label_weight=config.hard_label_weight,
    )


def _tokenize(model: FastBertForSequenceClassification, labels: SoftLabelledTexts) -> TokenizedTexts:
    """Return the texts as the model's own tokenizer cuts them."""
    max_length = model.config.max_length
    return tokenize(model.tokenizer, labels.texts, labels.text_pairs, max_length=max_length)
