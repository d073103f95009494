"""Which texts share a passage with others: near copies, which the hash of a whole text does not tell.

A passage is a run of bytes, so that languages without spaces have passages too. All passages of a text are
hashed at once, each from the one before it (Karp and Rabin 1987).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Bytes of UTF-8: about seven words of English, or thirteen Chinese characters.
PASSAGE_BYTES = 40
# Of a text no more is looked at: what is longer shows what it shares in its beginning.
_MOST_BYTES = 4000
# Bits for each passage in the table that is asked first: one in 16 of the passages of other texts passes it.
_TABLE_BITS = 16

Words = npt.NDArray[np.uint64]

_RANDOM = np.random.default_rng(0)
_BYTE_VALUES: Words = _RANDOM.integers(1 << 63, size=256, dtype=np.uint64)
_BASE, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))


class SharedPassages:
    """Some texts, and which of them share a passage with others that come by."""

    def __init__(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> None:
        """Hash the passages of `texts`, at most 4,000 bytes of each."""
        passages, owners = _passages(texts, text_pairs)
        order = np.argsort(passages, kind="stable")
        self._passages, self._owners = passages[order], owners[order]
        num_bits = max(10, int(len(passages) * _TABLE_BITS).bit_length())
        self._shift = np.uint64(64 - num_bits)
        self._table = np.zeros(1 << num_bits, dtype=np.bool_)
        self._table[passages >> self._shift] = True
        self._num_texts = len(texts)
        # How many passages more were met from each place on than before it.
        self._met = np.zeros(len(passages) + 1, dtype=np.int64)

    @property
    def is_told(self) -> npt.NDArray[np.bool_]:
        """(texts,) which are long enough to have a passage."""
        return self._are_owners(self._owners)

    @property
    def is_shared(self) -> npt.NDArray[np.bool_]:
        """(texts,) which share a passage with a text that was added."""
        return self._are_owners(self._owners[np.cumsum(self._met[:-1]) > 0])

    def _are_owners(self, owners: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        return np.bincount(owners, minlength=self._num_texts) > 0

    def add(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> None:
        """Mark what shares a passage with one of `texts`."""
        passages, _ = _passages(texts, text_pairs)
        candidates = passages[self._table[passages >> self._shift]]
        # Of passages that are none of ours, the two are one place.
        np.add.at(self._met, np.searchsorted(self._passages, candidates, side="left"), 1)
        np.subtract.at(self._met, np.searchsorted(self._passages, candidates, side="right"), 1)


def _passages(texts: Sequence[str], text_pairs: Sequence[str] | None) -> tuple[Words, npt.NDArray[np.int64]]:
    """Return the hash of every passage of some texts, and which text it is of.

    Case and the width of spaces make no difference.
    """
    joined = texts if text_pairs is None else [f"{a} {b}" for a, b in zip(texts, text_pairs, strict=True)]
    encoded = [" ".join(text.casefold().split()).encode()[:_MOST_BYTES] for text in joined]
    lengths = np.array([len(text) for text in encoded], dtype=np.int64)
    values = _BYTE_VALUES[np.frombuffer(b"".join(encoded), dtype=np.uint8)]
    if len(values) < PASSAGE_BYTES:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    # All modulo 2**64: the sum of value[i] base**i over a passage, times base**-start, is its hash.
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(values * _powers(_BASE, len(values)))])
    starts = len(values) - PASSAGE_BYTES + 1
    hashes = (sums[PASSAGE_BYTES:] - sums[:starts]) * _powers(_INVERSE, starts)
    hashes = (hashes ^ (hashes >> np.uint64(32))) * _MIX
    hashes ^= hashes >> np.uint64(29)
    # A passage ends where its text does, or before.
    owners = np.repeat(np.arange(len(texts)), lengths)
    is_whole = owners[:starts] == owners[PASSAGE_BYTES - 1 :]
    return hashes[is_whole], owners[:starts][is_whole]


def _powers(base: np.uint64, count: int) -> Words:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
