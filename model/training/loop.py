"""The one training loop; fine-tuning and distillation differ in their loss and in what is trainable."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from model.engine.core_pool import ParallelMap, one_by_one
from model.training.batching import step_seed
from model.training.part_optimizers import PartOptimizers
from model.training.ranks import ONE_PROCESS, Ranks
from model.training.resume import TrainingState
from model.training.training_config import TrainingConfig

Batch = TypeVar("Batch")

# Of `constant_after_warmup`.
_WARMUP_STEPS = 100


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


def training_steps(
    module: nn.Module,
    config: TrainingConfig,
    *,
    batches: Callable[[int], Iterable[Batch]],
    steps_per_epoch: int,
    backward: Callable[[Batch], Tensor],
    schedule: Schedule = linear_warmup_decay,
    parts: Mapping[str, nn.Module] | None = None,
    parallel_map: ParallelMap = one_by_one,
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
        parallel_map: computes the steps of the parts.
        state: where to save and resume; None for neither. Of several processes the first's counts for all.
        ranks: the processes that train together; `backward` adds up their gradients.

    Raises:
        TrainingError: if a loss or a gradient is not finite, naming the part; the step is then not taken.
        ArtifactError: if `state` is another training's.
    """
    optimizers = PartOptimizers(parts or {"": module}, config, parallel_map)
    total_steps = config.epochs * steps_per_epoch
    saved = ranks.from_first(state.read() if state else None)
    if saved:
        module.load_state_dict(saved.weights)
        optimizers.restore(saved.moments)
    step = saved.step if saved else 0
    try:
        while step < total_steps:
            epoch, steps_done = divmod(step, steps_per_epoch)
            for batch in islice(batches(epoch), steps_done, None):
                share = schedule(step, total_steps=total_steps, warmup=config.warmup)
                optimizers.zero_grad()
                with _seeded(module, step_seed(config.seed, step)):
                    losses = backward(batch)
                step += 1
                optimizers.step(losses, share=share, number=step)
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
                    state.save(module, optimizers.moments, step)
            assert step == (epoch + 1) * steps_per_epoch, "an epoch has as many batches as was said"
    finally:
        # Also where nobody asks for the next step any more.
        optimizers.zero_grad()


@contextmanager
def _seeded(module: nn.Module, seed: int) -> Iterator[None]:
    """Draw random numbers from `seed`, and give the caller's generators back as they were."""
    devices = {parameter.device for parameter in module.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        torch.manual_seed(seed)
        yield
