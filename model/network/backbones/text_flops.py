"""What parts of a backbone cost on a text, 2 floating-point operations for a multiply-add."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch import nn

Count = TypeVar("Count", int, npt.NDArray[np.int64])


@dataclass(frozen=True, kw_only=True)
class TextFlops:
    """Floating-point operations by how they grow with a text.

    Attributes:
        per_pair: for each token and each other one.
        per_token: for each token.
        per_text: for each text, whatever its length.
    """

    per_pair: int = 0
    per_token: int = 0
    per_text: int = 0

    def of_text(self, num_tokens: Count) -> Count:
        """Return what it costs on a text, or on each of some texts.

        >>> TextFlops(per_pair=3, per_token=2, per_text=1).of_text(10)
        321
        """
        return self.per_pair * num_tokens * num_tokens + self.per_token * num_tokens + self.per_text

    def __add__(self, other: "TextFlops") -> "TextFlops":
        """Return what both cost."""
        return TextFlops(
            per_pair=self.per_pair + other.per_pair,
            per_token=self.per_token + other.per_token,
            per_text=self.per_text + other.per_text,
        )


def linear_flops(module: nn.Module) -> int:
    """Return the FLOPs per token of all linear layers and convolutions inside `module`."""
    parts = (part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv1d))
    return sum(2 * part.weight.numel() for part in parts)
