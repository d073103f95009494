"""The one training loop; fine-tuning and distillation differ in their loss and in what is trainable."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from model.checks import check_at_least, check_positive, check_seed
from model.errors import ParameterError, TrainingError
from model.training.batching import step_seed
from model.training.ranks import ONE_PROCESS, Ranks
from model.training.resume import TrainingState

Batch = TypeVar("Batch")

# Of `constant_after_warmup`.
_WARMUP_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long, how fast and from which seed a model is trained.

    Attributes:
        epochs: passes over the data.
        learning_rate: highest, reached at the end of the warm-up.
        batch_size: texts per step.
        seed: of the order of the texts and of dropout.
        weight_decay: of matrices; biases and norms are left alone.
        warmup: share of all steps over which the learning rate rises from 0; it then falls to 0.
        max_grad_norm: the largest norm of a part's gradients together; they are scaled down to it.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int = 0
    weight_decay: float = 0.01
    warmup: float = 0.1
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        """Check each number.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        check_at_least("epochs", self.epochs, 1)
        check_at_least("batch_size", self.batch_size, 1)
        check_positive("learning_rate", self.learning_rate)
        if not 0 <= self.warmup <= 1:
            raise ParameterError(f"`warmup` {self.warmup} is not a share of the steps, 0 to 1")
        if not 0 <= self.weight_decay < math.inf:
            raise ParameterError(f"`weight_decay` {self.weight_decay} is below 0")
        if not self.max_grad_norm > 0:
            raise ParameterError(f"`max_grad_norm` {self.max_grad_norm} is not above 0")
        check_seed(self.seed)


def linear_warmup_decay(step: int, *, total_steps: int, warmup: float) -> float:
    """Return the share of the highest learning rate that `step`, from 0, is taken with.

    As `get_linear_schedule_with_warmup` of transformers, but that the rise is one step ahead: there the first
    step is taken at a rate of 0, in vain.

    Args:
        step: from 0.
        total_steps: steps of the whole training.
        warmup: share of these over which the rate rises, 0 to 1.

    >>> [round(linear_warmup_decay(step, total_steps=10, warmup=0.2), 3) for step in range(10)]
    [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    """
    warmup_steps = math.ceil(total_steps * warmup)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (total_steps - step) / max(1, total_steps - warmup_steps)


def constant_after_warmup(step: int, *, total_steps: int, warmup: float) -> float:
    """Return the same for a training of which nobody knows when its last step will be.

    The rate rises over 100 steps, whatever `warmup` says, and then stays.

    >>> [constant_after_warmup(step, total_steps=1000, warmup=0.1) for step in (0, 49, 99, 999)]
    [0.01, 0.5, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / _WARMUP_STEPS)


class Schedule(Protocol):
    """At which share of the highest learning rate each step is taken; see `linear_warmup_decay`."""

    def __call__(self, step: int, *, total_steps: int, warmup: float) -> float:
        """Return the share, above 0 and at most 1, of `step`, from 0."""


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """Where training stands after a step.

    Attributes:
        step: steps done, over all epochs.
        total_steps: steps to do.
        epoch: the epoch, from 1, that this step is of.
        loss: of this step's batch, the sum over all parts.
        finished_epoch: the epoch, from 1, that this step was the last of; None within one.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    finished_epoch: int | None


def ignore(report: object) -> None:
    """Do nothing with a report."""


def make_optimizer(module: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW over what is trainable; only matrices decay, and they do."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    # Fused: one pass over all parameters, where the loop over them takes as long as a branch.
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def training_steps(
    module: nn.Module,
    config: TrainingConfig,
    *,
    batches: Callable[[int], Iterable[Batch]],
    steps_per_epoch: int,
    backward: Callable[[Batch], Tensor],
    schedule: Schedule = linear_warmup_decay,
    parts: Mapping[str, nn.Module] | None = None,
    state: TrainingState | None = None,
    ranks: Ranks = ONE_PROCESS,
) -> Generator[StepReport]:
    """Train what is trainable in `module`, a step whenever the next report is asked for.

    It goes on where `state` says an earlier run was killed. Every step has a seed of its own, so that a run
    that was killed and resumed ends with the weights of one that was not. The caller's own random numbers and
    the parameters' gradients are afterwards as if nothing had been trained.

    Args:
        module: its trainable parameters are changed in place.
        config: how.
        batches: the batches of an epoch (from 0), the same at every call.
        steps_per_epoch: how many these are.
        backward: adds the gradients of a batch to the parameters' (which are none), and returns the loss of
            each part on it, (parts,) float32 without gradient; a scalar where there is one part.
        schedule: says at which share of the highest learning rate each step is taken.
        parts: what `module` is made of, by name, where each part is a model of its own that is trained beside
            the others: its gradients are clipped by their own norm, so that its steps depend on no other
            part. None for one part.
        state: where to save and resume; None for neither. Of several processes the first's counts for all.
        ranks: the processes that train together; `backward` adds up their gradients.

    Raises:
        TrainingError: if a loss or a gradient is not finite, naming the part; the step is then not taken.
        ArtifactError: if `state` is another training's.
    """
    optimizer = make_optimizer(module, config)
    total_steps = config.epochs * steps_per_epoch
    saved = ranks.from_first(state.read() if state else None)
    if saved:
        saved.restore(module, optimizer)
    step = saved.step if saved else 0
    try:
        while step < total_steps:
            epoch, steps_done = divmod(step, steps_per_epoch)
            for batch in islice(batches(epoch), steps_done, None):
                share = schedule(step, total_steps=total_steps, warmup=config.warmup)
                _set_learning_rate(optimizer, config, share)
                optimizer.zero_grad()
                with _seeded(module, step_seed(config.seed, step)):
                    losses = backward(batch)
                _clip_gradients(parts or {"": module}, losses, config, step + 1)
                optimizer.step()
                step += 1
                is_last = step == (epoch + 1) * steps_per_epoch
                yield StepReport(
                    step=step,
                    total_steps=total_steps,
                    epoch=epoch + 1,
                    loss=float(losses.sum()),
                    finished_epoch=epoch + 1 if is_last else None,
                )
                # After it was told of: who is killed in between is told again of the epoch, not left out.
                if state and (is_last or step % state.save_every == 0):
                    state.save(module, optimizer, step)
            assert step == (epoch + 1) * steps_per_epoch, "an epoch has as many batches as was said"
    finally:
        # Also where nobody asks for the next step any more.
        optimizer.zero_grad()


@contextmanager
def _seeded(module: nn.Module, seed: int) -> Iterator[None]:
    """Draw random numbers from `seed`, and give the caller's generators back as they were."""
    devices = {parameter.device for parameter in module.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        torch.manual_seed(seed)
        yield


def _set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainingConfig, share: float) -> None:
    """Set the rate that a step is taken at, as a share of the highest."""
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * share


def _clip_gradients(
    parts: Mapping[str, nn.Module], losses: Tensor, config: TrainingConfig, step: int
) -> None:
    """Scale the gradients of each part down to the largest norm.

    Raises:
        TrainingError: if a part's loss or gradient is not finite, naming the part.
    """
    # A part without gradients learns nothing in this step.
    learning = [[p for p in part.parameters() if p.grad is not None] for part in parts.values()]
    norms = [
        nn.utils.clip_grad_norm_(parameters, config.max_grad_norm) if parameters else losses.new_zeros(())
        for parameters in learning
    ]
    # One transfer from the device for each list, not one for each number.
    for quantity, values in (("loss", losses.reshape(-1)), ("gradient", torch.stack(norms))):
        for name, value in zip(parts, values.tolist(), strict=True):
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name and name + ': '}the {quantity} of step {step} is {value}; lower `learning_rate` "
                    f"{config.learning_rate:g}, or see whether the model's weights and the soft labels are "
                    "finite"
                )
