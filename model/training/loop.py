"""The one training loop; fine-tuning and distillation differ in their loss and in what is trainable."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from model.checks import check_at_least, check_seed
from model.errors import ParameterError, TrainingError
from model.training.batching import step_seed

Batch = TypeVar("Batch")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long, how fast and from which seed a model is trained.

    Attributes:
        epochs: passes over the data.
        learning_rate: highest, reached at the end of the warm-up.
        batch_size: texts a step.
        seed: of the order of the texts and of dropout.
        weight_decay: of matrices; biases and norms are left alone.
        warmup: share of all steps over which the learning rate rises from 0; it then falls to 0.
        max_grad_norm: gradients are scaled down to this norm.
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
            ParameterError: naming the option and the rule.
        """
        check_at_least("epochs", self.epochs, 1)
        check_at_least("batch_size", self.batch_size, 1)
        if not 0 < self.learning_rate < math.inf:
            raise ParameterError(f"`learning_rate` {self.learning_rate} is not above 0")
        if not 0 <= self.warmup <= 1:
            raise ParameterError(f"`warmup` {self.warmup} is not a share of the steps, 0 to 1")
        if not 0 <= self.weight_decay < math.inf:
            raise ParameterError(f"`weight_decay` {self.weight_decay} is below 0")
        check_seed(self.seed)


def schedule(step: int, *, total_steps: int, warmup: float) -> float:
    """Return the share of the highest learning rate that `step`, from 0, is taken with.

    >>> [round(schedule(step, total_steps=10, warmup=0.2), 3) for step in range(10)]
    [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    """
    warmup_steps = math.ceil(total_steps * warmup)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (total_steps - step) / max(1, total_steps - warmup_steps)


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """Where training stands after a step.

    Attributes:
        step: steps done, over all epochs.
        total_steps: steps to do.
        loss: of this step's batch.
    """

    step: int
    total_steps: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """A file from which a killed training goes on, and what it belongs to.

    Attributes:
        path: a safetensors file; replaced whole, so a kill leaves the one before.
        job: what must be equal for going on to make sense.
        save_every: steps between two saves.
    """

    path: Path
    job: str
    save_every: int = 500

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write weights, optimizer and step."""
        tensors = {f"weight.{name}": value for name, value in module.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        partial = self.path.with_name(self.path.name + ".partial")
        save_file(
            {name: value.contiguous() for name, value in tensors.items()},
            partial,
            metadata={"step": str(step), "job": self.job},
        )
        partial.replace(self.path)

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Restore what `save` wrote, and return the number of steps done; 0 where nothing was saved."""
        if not self.path.is_file():
            return 0
        with safe_open(self.path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        module.load_state_dict(_part(tensors, "weight."))
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            states.setdefault(int(index), {})[key] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": states, "param_groups": groups})
        return int(metadata["step"])

    def saved_job(self) -> str | None:
        """Return the job whose state is in the file, None where there is no file."""
        if not self.path.is_file():
            return None
        with safe_open(self.path, framework="pt") as file:
            return str(file.metadata()["job"])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def make_optimizer(module: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW over what is trainable; only matrices decay, and they do."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    # Fused: one pass over all parameters, where the loop over them takes as long as a branch.
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _as_it_is(step: Callable[[], float]) -> float:
    return step()


def train(
    module: nn.Module,
    config: TrainingConfig,
    *,
    batches: Callable[[int], Iterable[Batch]],
    steps_per_epoch: int,
    gradients: Callable[[Batch], float],
    on_step: Callable[[StepReport], None],
    on_epoch: Callable[[int], None],
    state: TrainingState | None = None,
    drive: Callable[[Callable[[], float]], float] = _as_it_is,
) -> None:
    """Train what is trainable in `module`, going on where `state` says an earlier run was killed.

    Every step has a seed of its own, so that a run that was killed and resumed ends with the weights of one
    that was not.

    Args:
        module: its trainable parameters are changed in place.
        config: how.
        batches: the batches of an epoch (from 0), the same at every call.
        steps_per_epoch: how many these are.
        gradients: adds the gradients of a batch to the parameters' (which are none), and returns its loss.
        on_step: told of every step.
        on_epoch: told of every epoch that was finished, from 1; of the last one again after a kill.
        state: where to save and resume; None for neither.
        drive: calls a step; for who has a thread that steps are best taken in.

    Raises:
        TrainingError: if a loss or a gradient is not finite; the step is then not taken.
    """
    optimizer = make_optimizer(module, config)
    total_steps = config.epochs * steps_per_epoch
    step = state.load(module, optimizer) if state else 0
    while step < total_steps:
        epoch, done = divmod(step, steps_per_epoch)
        for batch in islice(batches(epoch), done, None):
            rate = config.learning_rate * schedule(step, total_steps=total_steps, warmup=config.warmup)
            torch.manual_seed(step_seed(config.seed, step))
            step += 1
            taken = partial(_take_step, module, optimizer, config, rate, step, partial(gradients, batch))
            on_step(StepReport(step=step, total_steps=total_steps, loss=drive(taken)))
            if state and step % state.save_every == 0 and step % steps_per_epoch:
                state.save(module, optimizer, step)
        assert step == (epoch + 1) * steps_per_epoch, "an epoch has as many batches as was said"
        # Told before it is saved: who is killed in between is told again, not left out.
        on_epoch(epoch + 1)
        if state:
            state.save(module, optimizer, step)


def _take_step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    rate: float,
    step: int,
    gradients: Callable[[], float],
) -> float:
    """Take `step` at a learning rate of `rate`, unless loss or gradients are not finite; return its loss."""
    optimizer.zero_grad()
    loss = gradients()
    for group in optimizer.param_groups:
        group["lr"] = rate
    trainable = (p for p in module.parameters() if p.requires_grad)
    norm = float(nn.utils.clip_grad_norm_(trainable, config.max_grad_norm))
    for name, value in (("loss", loss), ("gradient", norm)):
        if not math.isfinite(value):
            raise TrainingError(
                f"the {name} of step {step} is {value}; lower `learning_rate` "
                f"{config.learning_rate:g}, or see whether the model's weights and the soft labels are finite"
            )
    optimizer.step()
    return loss
