"""Runs of neighbouring token ids, as numbers: what a text consists of where no network has read it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.tokens.lengths import Lengths, cu_seqlens
from model.tokens.tokenization import TokenizedTexts

# N-grams of one token up to so many.
MAX_ORDER = 3

Hashes = npt.NDArray[np.uint64]

# Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators": odd numbers whose bits look
# random, and the shifts that go with them.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _SHIFT_1 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(30)
_MIX_2, _SHIFT_2 = np.uint64(0x94D049BB133111EB), np.uint64(27)
_SHIFT_3 = np.uint64(31)
_SEGMENT_SHIFT = np.uint64(32)


@dataclass(frozen=True, kw_only=True)
class Ngrams:
    """The n-grams of some texts, those of a text beside each other.

    Attributes:
        hashes: (total,) uint64; equal n-grams have equal ones, and others hardly ever.
        orders: (total,) int8, of how many tokens each one is.
        counts: (texts,) how many of them each text has.
    """

    hashes: Hashes
    orders: npt.NDArray[np.int8]
    counts: Lengths


def hash_ngrams(texts: TokenizedTexts, *, sep_token_id: int | None) -> Ngrams:
    """Return the n-grams of 1 to `MAX_ORDER` tokens of each text, special tokens among them.

    They are of the ids that a model would see, after truncation. Those of the second text of a pair, which
    stands behind a separator, differ from the same words in the first.

    Args:
        texts: in any order.
        sep_token_id: the tokenizer's separator; None for a tokenizer that has none.
    """
    num_tokens = len(texts.input_ids)
    first = np.repeat(cu_seqlens(texts.lengths)[:-1], texts.lengths)
    left = np.repeat(texts.lengths, texts.lengths) - (np.arange(num_tokens) - first)
    tokens = texts.input_ids.astype(np.uint64) + np.uint64(1)
    if sep_token_id is not None:
        before = cu_seqlens(texts.input_ids == sep_token_id)
        tokens |= (before[:-1] - before[first]).astype(np.uint64) << _SEGMENT_SHIFT
    hashes = np.empty((num_tokens, MAX_ORDER), dtype=np.uint64)
    so_far = np.zeros(num_tokens, dtype=np.uint64)
    for longer_by in range(MAX_ORDER):
        # What stands past the end of a text is of the next one, and left out below.
        so_far[: num_tokens - longer_by] += tokens[longer_by:]
        so_far = _mix(so_far * _GOLDEN)
        hashes[:, longer_by] = so_far
    orders = np.arange(1, MAX_ORDER + 1, dtype=np.int8)
    is_inside = left[:, None] >= orders
    return Ngrams(
        hashes=hashes[is_inside],
        orders=np.broadcast_to(orders, hashes.shape)[is_inside],
        counts=np.maximum(texts.lengths[:, None] - orders + 1, 0).sum(axis=1),
    )


def _mix(values: Hashes) -> Hashes:
    """Return values whose every bit depends on every bit of the given ones."""
    values = (values ^ (values >> _SHIFT_1)) * _MIX_1
    values = (values ^ (values >> _SHIFT_2)) * _MIX_2
    return values ^ (values >> _SHIFT_3)
