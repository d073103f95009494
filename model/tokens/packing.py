"""Texts of any length as one packed tensor, and the micro-batches that it is run in.

Packed means that the tokens of all texts stand one after another, (total_tokens, ...), with no padding;
`lengths` says where each text ends. Texts stand longest first, so neighbours pad little.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Lengths = npt.NDArray[np.int64]

# Micro-batches come in multiples of this, whatever the number of cores: results do not depend on it.
_MICRO_BATCH_MULTIPLE = 4


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """A run of neighbouring texts that goes through a layer at once.

    Attributes:
        rows: which texts.
        tokens: where their tokens stand in the packed tensor.
        lengths: (rows,) tokens of each text, longest first.
    """

    rows: slice
    tokens: slice
    lengths: Lengths

    @property
    def max_seqlen(self) -> int:
        """Tokens of the longest text."""
        return int(self.lengths[0])

    @property
    def is_padded(self) -> bool:
        """Whether the texts differ in length."""
        return bool(self.lengths[0] != self.lengths[-1])

    @property
    def num_real_tokens(self) -> int:
        """Tokens of all texts."""
        return int(self.tokens.stop - self.tokens.start)

    @property
    def num_padded_tokens(self) -> int:
        """Tokens that a layer works on where texts are padded to one length."""
        return len(self.lengths) * self.max_seqlen

    @cached_property
    def ends(self) -> Lengths:
        """(rows,) one past the last token of each text, counted in the micro-batch."""
        return np.cumsum(self.lengths)

    def length_buckets(self, max_padding: int) -> "list[MicroBatch]":
        """Cut the texts into neighbours that are nearly of one length.

        Args:
            max_padding: most tokens that padding a group to its longest text may add; texts of one length are
                never parted.

        Returns:
            Micro-batches whose rows and tokens count from the start of this one.
        """
        bounds = [0, *(np.flatnonzero(np.diff(self.lengths)) + 1).tolist(), len(self.lengths)]
        starts, padding = [0], 0
        for first, stop in pairwise(bounds):
            added = int(self.lengths[starts[-1]] - self.lengths[first]) * (stop - first)
            if padding + added > max_padding:
                starts.append(first)
                padding = added = 0
            padding += added
        tokens = [0, *self.ends.tolist()]
        return [
            MicroBatch(
                rows=slice(first, stop),
                tokens=slice(tokens[first], tokens[stop]),
                lengths=self.lengths[first:stop],
            )
            for first, stop in pairwise([*starts, len(self.lengths)])
        ]

    def halves(self) -> "tuple[MicroBatch, MicroBatch]":
        """Return the first texts and the others, for a device that has no memory for all of them."""
        middle = len(self.lengths) // 2
        row, token = self.rows.start + middle, self.tokens.start + int(self.ends[middle - 1])
        return (
            MicroBatch(
                rows=slice(self.rows.start, row),
                tokens=slice(self.tokens.start, token),
                lengths=self.lengths[:middle],
            ),
            MicroBatch(
                rows=slice(row, self.rows.stop),
                tokens=slice(token, self.tokens.stop),
                lengths=self.lengths[middle:],
            ),
        )

    def first_tokens(self, device: torch.device) -> Tensor:
        """Return (rows,) where each text's first token stands in the micro-batch."""
        return torch.from_numpy(self.ends - self.lengths).to(device, non_blocking=True)

    def attention_mask(self, device: torch.device) -> Tensor | None:
        """Return (rows, width) bool, True at real tokens; None where no text is padded."""
        if not self.is_padded:
            return None
        return torch.from_numpy(self._mask).to(device, non_blocking=True)

    def pad(self, packed: Tensor) -> Tensor:
        """Return the micro-batch's tokens, (tokens, ...), as (rows, width, ...).

        Behind a text's end stands its last token again, where `attention_mask` is False.
        """
        shape = (len(self.lengths), self.max_seqlen, *packed.shape[1:])
        if not self.is_padded:
            return packed.view(shape)
        return packed.index_select(0, torch.from_numpy(self._padded_token_indices).to(packed.device)).view(
            shape
        )

    def unpad(self, padded: Tensor) -> Tensor:
        """Return the real tokens of (rows, width, ...), packed, (tokens, ...)."""
        flat = padded.flatten(0, 1)
        if not self.is_padded:
            return flat
        # Found on the host: a boolean mask would make it wait for the device.
        real = torch.from_numpy(np.flatnonzero(self._mask))
        return flat.index_select(0, real.to(padded.device, non_blocking=True))

    @property
    def _mask(self) -> npt.NDArray[np.bool_]:
        real: npt.NDArray[np.bool_] = np.arange(self.max_seqlen) < self.lengths[:, None]
        return real

    @property
    def _padded_token_indices(self) -> Lengths:
        """(rows * width,) the token that stands in each place of the padded tensor."""
        return padded_token_indices(self.ends - self.lengths, self.lengths).ravel()


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


def argsort_by_length(lengths: Lengths) -> Lengths:
    """Return the places of texts from the longest to the shortest, equal ones as they stood, (rows,)."""
    return np.argsort(-lengths, kind="stable")


def padded_token_indices(starts: Lengths, lengths: Lengths) -> Lengths:
    """Return which token stands where when texts are padded to one length, (rows, width).

    Args:
        starts: (rows,) the place of each text's first token.
        lengths: (rows,); behind a text's end stands its last token again.
    """
    places = np.arange(lengths.max())
    slots: Lengths = starts[:, None] + np.minimum(places, lengths[:, None] - 1)
    return slots


def balanced_token_budget(num_tokens: int, token_budget: int) -> int:
    """Return a budget at which micro-batches are about equal and fit on a few cores without a rest.

    Args:
        num_tokens: of all texts.
        token_budget: the largest; no less than a quarter of it is returned.

    >>> [balanced_token_budget(tokens, 1000) for tokens in (100, 900, 2100, 1_000_000)]
    [250, 250, 525, 1000]
    """
    count = -(-num_tokens // token_budget)
    count = -(-count // _MICRO_BATCH_MULTIPLE) * _MICRO_BATCH_MULTIPLE
    even = -(-num_tokens // max(count, 1))
    return max(1, token_budget // 4, min(token_budget, even))


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
