"""The steps of models that are trained beside each other: each has an optimizer and a norm of its own."""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import torch
from torch import Tensor, nn

from model.engine.core_pool import ParallelMap, one_by_one
from model.errors import TrainingError
from model.training.training_config import TrainingConfig


class PartOptimizers:
    """AdamW for parts that are models of their own, whose steps are computed side by side."""

    def __init__(
        self, parts: Mapping[str, nn.Module], config: TrainingConfig, parallel_map: ParallelMap = one_by_one
    ) -> None:
        """Begin with no moments.

        Args:
            parts: by name; what is trainable in them is stepped, and no two share it.
            config: how.
            parallel_map: computes the parts' steps.
        """
        self._parts, self._config, self._parallel_map = parts, config, parallel_map
        self._optimizers = [make_optimizer(part, config) for part in parts.values()]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer in self._optimizers:
            optimizer.zero_grad()

    def step(self, losses: Tensor, *, share: float, number: int) -> None:
        """Scale each part's gradients down to the largest norm, and take a step; without any it takes none.

        Args:
            losses: (parts,) of this step, or a scalar where there is one part.
            share: of the highest learning rate.
            number: of the step, from 1.

        Raises:
            TrainingError: if a part's loss or gradient is not finite, naming it; no part takes the step then.
        """
        found = self._parallel_map(_gradient_norm, self._optimizers)
        # That of a part without gradients lies on the host.
        norms = torch.stack([norm.to(losses.device) for norm in found])
        # One transfer from the device for each list, not one for each number.
        norm_values = norms.tolist()
        self._check_finite("loss", losses.reshape(-1).tolist(), number)
        self._check_finite("gradient", norm_values, number)
        self._parallel_map(
            lambda part: _clip_and_step(*part, self._config, share),
            zip(self._optimizers, norms, norm_values, strict=True),
        )

    def _check_finite(self, quantity: str, values: Iterable[float], number: int) -> None:
        for name, value in zip(self._parts, values, strict=True):
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name and name + ': '}the {quantity} of step {number} is {value}; lower "
                    f"`learning_rate` {self._config.learning_rate:g}, or see whether the model's weights and "
                    "the soft labels are finite"
                )

    @property
    def moments(self) -> dict[int, dict[str, Tensor]]:
        """What is known of each parameter that has taken a step.

        By its number among the matrices of all parts, and behind them all that does not decay.
        """
        states = [optimizer.state_dict()["state"] for optimizer in self._optimizers]
        return {
            number: states[part][place]
            for number, (part, place) in enumerate(self._places())
            if place in states[part]
        }

    def restore(self, moments: Mapping[int, dict[str, Tensor]]) -> None:
        """Take `moments` of the same parts."""
        states: list[dict[int, dict[str, Tensor]]] = [{} for _ in self._optimizers]
        for number, (part, place) in enumerate(self._places()):
            if number in moments:
                states[part][place] = moments[number]
        for optimizer, state in zip(self._optimizers, states, strict=True):
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _places(self) -> Iterator[tuple[int, int]]:
        """Yield for each number which part's parameter it is, and its number there."""
        groups = [optimizer.state_dict()["param_groups"] for optimizer in self._optimizers]
        # Of each of the two kinds all parts.
        for kind in zip(*groups, strict=True):
            for part, group in enumerate(kind):
                yield from ((part, place) for place in group["params"])


def make_optimizer(module: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW over what is trainable; only matrices decay, and they do."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    # Fused: one pass over all parameters, where the loop over them takes as long as a branch.
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _gradient_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """Return the norm of all gradients together, a scalar; 0 where there are none."""
    return nn.utils.get_total_norm(
        [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    )


def _clip_and_step(
    optimizer: torch.optim.Optimizer, norm: Tensor, norm_value: float, config: TrainingConfig, share: float
) -> None:
    # Most steps leave all gradients as they are, and writing these again is memory read and written.
    if norm_value > config.max_grad_norm:
        parameters = chain.from_iterable(group["params"] for group in optimizer.param_groups)
        nn.utils.clip_grads_with_norm_(parameters, config.max_grad_norm, norm)
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * share
    optimizer.step()
