"""Texts of any length as one packed tensor, and the micro-batches that it is run in.

Packed means that the tokens of all texts stand one after another, (total_tokens, ...), with no padding;
`lengths` says where each text ends. Texts stand longest first, so neighbours pad little.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Lengths = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """A run of neighbouring texts that goes through a layer at once.

    Attributes:
        rows: which texts.
        tokens: where their tokens stand in the packed tensor.
        lengths: (rows,) tokens of each text.
    """

    rows: slice
    tokens: slice
    lengths: Lengths

    @property
    def width(self) -> int:
        """Tokens of the longest text."""
        return int(self.lengths[0])

    @property
    def is_padded(self) -> bool:
        """Whether the texts differ in length."""
        return bool(self.lengths[0] != self.lengths[-1])

    @property
    def num_processed_tokens(self) -> int:
        """Tokens that a layer works on, padding included."""
        return len(self.lengths) * self.width

    def padding(self, device: torch.device) -> Tensor | None:
        """Return (rows, width) bool, True at real tokens; None where no text is padded."""
        if not self.is_padded:
            return None
        lengths = torch.from_numpy(self.lengths).to(device)
        return torch.arange(self.width, device=device) < lengths[:, None]

    def pad(self, packed: Tensor, padding: Tensor | None, *, fill: float = 0) -> Tensor:
        """Return this micro-batch's part of `packed`, (total_tokens, ...), as (rows, width, ...)."""
        part = packed[self.tokens]
        shape = (len(self.lengths), self.width, *packed.shape[1:])
        if padding is None:
            return part.view(shape)
        padded = packed.new_full(shape, fill)
        padded[padding] = part
        return padded

    def unpad_into(self, packed: Tensor, states: Tensor, padding: Tensor | None) -> None:
        """Write `states`, (rows, width, ...), back to where `pad` took them from."""
        packed[self.tokens] = states.flatten(0, 1) if padding is None else states[padding]


def micro_batches(lengths: Lengths, token_budget: int) -> Iterator[MicroBatch]:
    """Cut texts into micro-batches of at most `token_budget` tokens, padding included.

    Args:
        lengths: (rows,) tokens of each text, longest first.
        token_budget: tokens; a text longer than that is a micro-batch by itself.

    >>> [batch.rows for batch in micro_batches(np.array([9, 4, 4, 3]), 8)]
    [slice(0, 1, None), slice(1, 3, None), slice(3, 4, None)]
    """
    ends = np.cumsum(lengths)
    row = first_token = 0
    while row < len(lengths):
        stop = min(row + max(1, token_budget // int(lengths[row])), len(lengths))
        last_token = int(ends[stop - 1])
        yield MicroBatch(
            rows=slice(row, stop), tokens=slice(first_token, last_token), lengths=lengths[row:stop]
        )
        row, first_token = stop, last_token


def chunks(lengths: Lengths, max_tokens: int) -> Iterator[slice]:
    """Cut texts into runs of at most `max_tokens` tokens; a longer text is a run by itself.

    >>> list(chunks(np.array([5, 4, 4, 1]), 8))
    [slice(0, 1, None), slice(1, 3, None), slice(3, 4, None)]
    """
    ends = np.cumsum(lengths)
    row = 0
    while row < len(lengths):
        taken = ends[row - 1] if row else 0
        stop = max(row + 1, int(np.searchsorted(ends, taken + max_tokens, side="right")))
        yield slice(row, stop)
        row = stop


def keep_rows(packed: Tensor, lengths: Lengths, keep: npt.NDArray[np.bool_]) -> Tensor:
    """Return `packed`, (total_tokens, ...), without the tokens of the rows that `keep` drops."""
    tokens = torch.from_numpy(np.flatnonzero(np.repeat(keep, lengths)))
    return packed.index_select(0, tokens.to(packed.device))
