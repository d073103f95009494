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

    def of_text(self, num_tokens: Count, pairs: Count | None = None) -> Count:
        """Return what it costs on a text, or on each of some texts.

        Args:
            num_tokens: of the text.
            pairs: of tokens that are multiplied; None for all there are.

        >>> TextFlops(per_pair=3, per_token=2, per_text=1).of_text(10)
        321
        """
        multiplied = num_tokens * num_tokens if pairs is None else pairs
        return self.per_pair * multiplied + self.per_token * num_tokens + self.per_text

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


# Neighbouring tokens whose scores are computed together, with all that any of them sees, where a layer's
# attention is local.
WINDOW_ROWS = 64


def pairs_within(num_tokens: npt.NDArray[np.int64], reach: int) -> npt.NDArray[np.int64]:
    """Return how many pairs of tokens local attention multiplies of each text, (rows,).

    Some neighbours at once, with all that any of them sees: a few more than are within reach.

    Args:
        num_tokens: (rows,) of each text.
        reach: how many tokens away the last one is that a token sees.

    >>> pairs_within(np.array([10, 64, 200]), reach=64).tolist()
    [100, 4096, 29760]
    """
    lengths, place = np.unique(num_tokens, return_inverse=True)
    longest = int(lengths.max(initial=0))
    pairs = np.zeros(len(lengths), dtype=np.int64)
    for first in range(0, longest, WINDOW_ROWS):
        stops = np.minimum(first + WINDOW_ROWS, lengths)
        seen = np.minimum(lengths, stops + reach) - max(0, first - reach)
        pairs += np.where(lengths > first, (stops - first) * seen, 0)
    return pairs[place]
