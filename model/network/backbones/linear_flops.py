"""What linear layers cost."""

from torch import nn


def linear_flops(module: nn.Module) -> int:
    """Return the FLOPs per token of all linear layers and convolutions inside `module`."""
    parts = (part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv1d))
    return sum(2 * part.weight.numel() for part in parts)
