"""What parts of the network cost on a text, 2 floating-point operations for a multiply-add.

Light: nothing here imports torch.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

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


@dataclass(frozen=True, kw_only=True)
class BranchFlops:
    """Floating-point operations of one branch, 2 for a multiply-add.

    Attributes:
        per_token: of each token of a text.
        per_text: of each text, whatever its length.
    """

    per_token: int
    per_text: int

    def of_text(self, num_tokens: Count) -> Count:
        """Return what it costs on a text, or on each of some texts."""
        return self.per_token * num_tokens + self.per_text


def paper_count(hidden_size: int, width: int) -> BranchFlops:
    """Return what a branch costs as Liu et al. 2020 count, Table 1.

    Narrowing, self-attention's four projections, one dense layer.
    """
    return BranchFlops(per_token=2 * (hidden_size * width + 4 * width**2), per_text=2 * width**2)
