"""How much of some texts stands in others: near copies, which the hash of a whole text does not tell.

A passage is a run of bytes, so that languages without spaces have passages too. All passages of a text are
hashed at once, each from the one before it (Karp and Rabin 1987).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Bytes of UTF-8: about seven words of English, or thirteen Chinese characters.
PASSAGE_BYTES = 40
# Of a text no more is looked at: it is more than 512 tokens hold of nearly all languages.
_MOST_BYTES = 4000
# Passages that are hashed at once: their sums and powers fit into a core's cache.
_BLOCK = 1 << 15
# Bits for each passage in the table that is asked first: one in 16 of the passages of other texts passes it.
_TABLE_BITS = 16

Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]


def _powers(base: int, count: int) -> Words:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


_BASE, _MIX = 0x9E3779B97F4A7C15, np.uint64(0xD6E8FEB86659FD93)
_POWERS = _powers(_BASE, _BLOCK + PASSAGE_BYTES - 1)
_INVERSE_POWERS = _powers(pow(_BASE, -1, 1 << 64), _BLOCK)
_THREE = np.uint64(3)
_BYTE_VALUES: Words = np.random.default_rng(0).integers(1 << 63, size=256, dtype=np.uint64)


class SharedPassages:
    """Some texts, and how many of their passages stand in others that come by.

    It takes some 12 bytes for each byte of the texts.
    """

    def __init__(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> None:
        """Hash the passages of `texts`, at most 4,000 bytes of each."""
        self._texts = _JoinedTexts.of(texts, text_pairs)
        self._passages = _HashSet(self._texts.all_passages())
        self._is_met = np.zeros(len(self._passages), dtype=np.bool_)

    @property
    def num_passages(self) -> Counts:
        """(texts,) passages of each; 0 where a text is too short to have one."""
        return self._texts.num_passages

    @property
    def num_shared(self) -> Counts:
        """(texts,) passages of each that a text that was added has too."""
        met = _HashSet(self._passages.hashes[self._is_met])
        num_shared = np.zeros(len(self.num_passages), dtype=np.int64)
        for hashes, owners in self._texts.passages():
            asked = met.candidates(hashes)
            is_there, _ = met.find(hashes[asked])
            num_shared += np.bincount(owners[asked[is_there]], minlength=len(num_shared))
        return num_shared

    def add(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> None:
        """Mark the passages that stand in one of `texts`."""
        blocks = (hashes for hashes, _ in _JoinedTexts.of(texts, text_pairs).passages())
        parts = [hashes[self._passages.candidates(hashes)] for hashes in blocks]
        asked = np.concatenate([np.empty(0, dtype=np.uint64), *parts])
        # Neighbours are found near each other, in what the cache still holds.
        asked.sort()
        is_there, places = self._passages.find(asked)
        self._is_met[places[is_there]] = True


class _HashSet:
    """Hashes to find others among.

    Attributes:
        hashes: all of them in order, equal ones too.
    """

    def __init__(self, hashes: Words) -> None:
        """Take `hashes`, which are sorted in place."""
        hashes.sort()
        self.hashes = hashes
        num_bits = max(10, (len(self.hashes) * _TABLE_BITS).bit_length())
        self._shift = np.uint64(64 - num_bits)
        self._table = np.zeros(1 << (num_bits - 3), dtype=np.uint8)
        for first in range(0, len(self), _BLOCK):
            bits = self.hashes[first : first + _BLOCK] >> self._shift
            np.bitwise_or.at(self._table, bits >> _THREE, _masks(bits))

    def __len__(self) -> int:
        return len(self.hashes)

    def candidates(self, hashes: Words) -> Places:
        """Return the places in `hashes` of all that may be in the set."""
        bits = hashes >> self._shift
        return np.flatnonzero(self._table[bits >> _THREE] & _masks(bits))

    def find(self, hashes: Words) -> tuple[Flags, Places]:
        """Return which of `hashes` are in the set, and the first place of each in its order."""
        if not len(self):
            return np.zeros(len(hashes), dtype=np.bool_), np.zeros(len(hashes), dtype=np.intp)
        places = np.searchsorted(self.hashes, hashes)
        places[places == len(self)] = 0
        return self.hashes[places] == hashes, places


def _masks(bits: Words) -> npt.NDArray[np.uint8]:
    """Return the mask of each bit within its byte of the table."""
    return np.left_shift(np.uint8(1), (bits & np.uint64(7)).astype(np.uint8))


@dataclass(frozen=True, kw_only=True)
class _JoinedTexts:
    """Texts one after another, as far as they are looked at.

    Attributes:
        content: (bytes,) uint8 of UTF-8. Case and the width of spaces make no difference.
        lengths: (texts,) int64 bytes of each.
    """

    content: npt.NDArray[np.uint8]
    lengths: Counts

    @classmethod
    def of(cls, texts: Sequence[str], text_pairs: Sequence[str] | None) -> _JoinedTexts:
        """Join texts, or the two texts of each pair."""
        wholes = texts if text_pairs is None else map("{} {}".format, texts, text_pairs)
        encoded = [_plain(text).encode()[:_MOST_BYTES] for text in wholes]
        return cls(
            content=np.frombuffer(b"".join(encoded), dtype=np.uint8),
            lengths=np.array([len(text) for text in encoded], dtype=np.int64),
        )

    @property
    def num_passages(self) -> Counts:
        """(texts,) of each."""
        return np.maximum(self.lengths - PASSAGE_BYTES + 1, 0)

    def all_passages(self) -> Words:
        """Return the hashes of all passages, never holding them twice."""
        hashes = np.empty(self.num_passages.sum(), dtype=np.uint64)
        filled = 0
        for block, _ in self.passages():
            hashes[filled : filled + len(block)] = block
            filled += len(block)
        return hashes

    def passages(self) -> Iterator[tuple[Words, Places]]:
        """Yield the hashes of all passages, block by block, and which text each is of."""
        ends = np.cumsum(self.lengths)
        for first in range(0, len(self.content) - PASSAGE_BYTES + 1, _BLOCK):
            content = self.content[first : first + _BLOCK + PASSAGE_BYTES - 1]
            owners = np.searchsorted(ends, [first, first + len(content) - 1], side="right")
            texts = np.arange(owners[0], owners[1] + 1)
            ends_here = np.minimum(ends[texts] - first, len(content))
            owner = np.repeat(texts, np.diff(ends_here, prepend=0))
            # A passage ends where its text does, or before.
            is_whole = owner[PASSAGE_BYTES - 1 :] == owner[: 1 - PASSAGE_BYTES]
            yield _hashes(content)[is_whole], owner[: 1 - PASSAGE_BYTES][is_whole]


def _plain(text: str) -> str:
    """Return a text in one case, with single spaces."""
    text = text.casefold()
    # All white space but " " counts as not printable; most texts have none, and are not taken apart.
    return text.strip(" ") if text.isprintable() and "  " not in text else " ".join(text.split())


def _hashes(content: npt.NDArray[np.uint8]) -> Words:
    """Return the hash of every passage of a block, (bytes - 39,).

    The sum of value[i] base**i over a passage, times base**-start, all modulo 2**64.
    """
    sums = np.zeros(len(content) + 1, dtype=np.uint64)
    values = _BYTE_VALUES[content]
    values *= _POWERS[: len(content)]
    np.cumsum(values, out=sums[1:])
    hashes = sums[PASSAGE_BYTES:] - sums[:-PASSAGE_BYTES]
    hashes *= _INVERSE_POWERS[: len(hashes)]
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MIX
    hashes ^= hashes >> np.uint64(29)
    return hashes
