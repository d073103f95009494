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

from model.tokens.lengths import Lengths, cu_seqlens, padded_token_indices

TokenTypes = npt.NDArray[np.int32]

# Micro-batches come in multiples of this, whatever the number of cores: results do not depend on it.
_MICRO_BATCH_MULTIPLE = 4


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """A run of neighbouring texts that goes through a layer at once.

    Attributes:
        text_slice: which of all texts.
        token_slice: where their tokens stand in the packed tensor.
        lengths: (texts,) tokens of each text, longest first.
        token_types: (tokens,) of each token, where layers look at them; None where they do not.
    """

    text_slice: slice
    token_slice: slice
    lengths: Lengths
    token_types: TokenTypes | None = None

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
        return int(self.token_slice.stop - self.token_slice.start)

    @property
    def num_padded_tokens(self) -> int:
        """Tokens that a layer works on where texts are padded to one length."""
        return len(self.lengths) * self.max_seqlen

    @cached_property
    def cu_seqlens(self) -> Lengths:
        """(texts + 1,) where each text begins in the micro-batch, from 0, and where the last one ends."""
        return cu_seqlens(self.lengths)

    def length_buckets(self, max_padding: int) -> "list[MicroBatch]":
        """Cut the texts into neighbours that are nearly of one length.

        Args:
            max_padding: most tokens that padding a group to its longest text may add; texts of one length are
                never parted.

        Returns:
            Micro-batches whose texts and tokens count from the start of this one.
        """
        bounds = [0, *(np.flatnonzero(np.diff(self.lengths)) + 1).tolist(), len(self.lengths)]
        starts, padding = [0], 0
        for first, stop in pairwise(bounds):
            added = int(self.lengths[starts[-1]] - self.lengths[first]) * (stop - first)
            if padding + added > max_padding:
                starts.append(first)
                padding = added = 0
            padding += added
        tokens = self.cu_seqlens.tolist()
        return [
            MicroBatch(
                text_slice=slice(first, stop),
                token_slice=slice(tokens[first], tokens[stop]),
                lengths=self.lengths[first:stop],
            )
            for first, stop in pairwise([*starts, len(self.lengths)])
        ]

    def halves(self) -> "tuple[MicroBatch, MicroBatch]":
        """Return the first texts and the others, for a device that has no memory for all of them."""
        middle = len(self.lengths) // 2
        num_first = int(self.cu_seqlens[middle])
        text = self.text_slice.start + middle
        token = self.token_slice.start + num_first
        types = self.token_types
        return (
            MicroBatch(
                text_slice=slice(self.text_slice.start, text),
                token_slice=slice(self.token_slice.start, token),
                lengths=self.lengths[:middle],
                token_types=None if types is None else types[:num_first],
            ),
            MicroBatch(
                text_slice=slice(text, self.text_slice.stop),
                token_slice=slice(token, self.token_slice.stop),
                lengths=self.lengths[middle:],
                token_types=None if types is None else types[num_first:],
            ),
        )

    def first_tokens(self, device: torch.device) -> Tensor:
        """Return (texts,) where each text's first token stands in the micro-batch."""
        return torch.from_numpy(self.cu_seqlens[:-1]).to(device, non_blocking=True)

    def last_tokens(self, device: torch.device) -> Tensor:
        """Return (texts,) where each text's last token stands in the micro-batch."""
        return torch.from_numpy(self.cu_seqlens[1:] - 1).to(device, non_blocking=True)

    def attention_mask(self, device: torch.device) -> Tensor | None:
        """Return (texts, width) bool, True at real tokens; None where no text is padded."""
        if not self.is_padded:
            return None
        return torch.from_numpy(self._mask).to(device, non_blocking=True)

    def padded_token_types(self, device: torch.device) -> Tensor | None:
        """Return (texts, width) int64, of all tokens; None where layers look at none."""
        if self.token_types is None:
            return None
        return self.pad(torch.from_numpy(self.token_types).long()).to(device, non_blocking=True)

    def pad(self, packed: Tensor) -> Tensor:
        """Return the micro-batch's tokens, (tokens, ...), as (texts, width, ...).

        Behind a text's end stands its last token again, where `attention_mask` is False.
        """
        shape = (len(self.lengths), self.max_seqlen, *packed.shape[1:])
        if not self.is_padded:
            return packed.view(shape)
        return packed.index_select(0, torch.from_numpy(self._padded_token_indices).to(packed.device)).view(
            shape
        )

    def unpad(self, padded: Tensor) -> Tensor:
        """Return the real tokens of (texts, width, ...), packed, (tokens, ...)."""
        flat = padded.flatten(0, 1)
        return flat.index_select(0, self.padded_positions(padded.device)) if self.is_padded else flat

    def padded_positions(self, device: torch.device) -> Tensor:
        """Return where each token stands when texts are padded to one length, (tokens,), of texts * width."""
        # Looked up on the host: a boolean mask would make it wait for the device.
        return torch.from_numpy(np.flatnonzero(self._mask)).to(device, non_blocking=True)

    @property
    def _mask(self) -> npt.NDArray[np.bool_]:
        real: npt.NDArray[np.bool_] = np.arange(self.max_seqlen) < self.lengths[:, None]
        return real

    @property
    def _padded_token_indices(self) -> Lengths:
        """(texts * width,) the token that stands in each place of the padded tensor."""
        return padded_token_indices(self.cu_seqlens[:-1], self.lengths).ravel()


def micro_batches(
    lengths: Lengths, token_budget: int, token_types: TokenTypes | None = None
) -> Iterator[MicroBatch]:
    """Cut texts into micro-batches of at most `token_budget` tokens, padding included.

    Args:
        lengths: (texts,) tokens of each text, longest first.
        token_budget: tokens; a text longer than that is a micro-batch by itself.
        token_types: (total_tokens,) where layers look at them; None where they do not.

    >>> [batch.text_slice for batch in micro_batches(np.array([9, 4, 4, 3]), 8)]
    [slice(0, 1, None), slice(1, 3, None), slice(3, 4, None)]
    """
    offsets, first = cu_seqlens(lengths), 0
    while first < len(lengths):
        stop = min(first + max(1, token_budget // int(lengths[first])), len(lengths))
        tokens = slice(int(offsets[first]), int(offsets[stop]))
        yield MicroBatch(
            text_slice=slice(first, stop),
            token_slice=tokens,
            lengths=lengths[first:stop],
            token_types=None if token_types is None else token_types[tokens],
        )
        first = stop


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
