"""Which n-grams are known, and the number of each: a bit a slot, ranked (Jacobson 1989).

A slot is the leading bits of an n-gram's hash. Known n-grams that share one share a number, and an unknown
n-gram that falls on it is taken for them; both happen to about `known / slots` of them.
"""

import numpy as np
import numpy.typing as npt

from model.tokens.ngrams import Hashes

# Of so many slots one is taken, so about as many unknown n-grams are taken for known ones.
_SLOTS_PER_NGRAM = 16
_WORD_BITS = 64
MIN_SLOT_BITS, MAX_SLOT_BITS = 6, 27
_IN_WORD = np.uint64(_WORD_BITS - 1)
_ONE = np.uint64(1)


class NgramTable:
    """Known n-grams, numbered from 0."""

    def __init__(self, words: npt.NDArray[np.uint64]) -> None:
        """Take the slots' bits.

        Args:
            words: (slots / 64,) uint64, a power of two of them; bit i of word w is slot 64 w + i.
        """
        self.words = words
        self.slot_bits = (len(words) * _WORD_BITS).bit_length() - 1
        self._ranks = np.concatenate([[0], np.cumsum(np.bitwise_count(words), dtype=np.int64)])

    def __len__(self) -> int:
        return int(self._ranks[-1])

    @classmethod
    def of_slots(cls, slots: npt.NDArray[np.int64], *, slot_bits: int) -> "NgramTable":
        """Return the table of some slots, in any order, of 2 to the power of `slot_bits`."""
        is_taken = np.zeros(1 << slot_bits, dtype=np.bool_)
        is_taken[slots] = True
        return cls(np.packbits(is_taken, bitorder="little").view("<u8"))

    def find(self, hashes: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Look n-grams up.

        Returns:
            The numbers of those that are known, (known,) int64, in their order; and which ones these are,
            (len(hashes),) bool.
        """
        slots = slots_of(hashes, self.slot_bits)
        words, bits = slots // _WORD_BITS, slots.astype(np.uint64) & _IN_WORD
        found = self.words[words]
        is_known = (found >> bits) & _ONE == _ONE
        words, found, bits = words[is_known], found[is_known], bits[is_known]
        in_word = np.bitwise_count(found & ((_ONE << bits) - _ONE))
        return self._ranks[words] + in_word, is_known


def slots_of(hashes: Hashes, slot_bits: int) -> npt.NDArray[np.int64]:
    """Return each n-gram's slot, int64: the leading bits of its hash.

    So the slot among half as many is half the number.
    """
    slots: npt.NDArray[np.int64] = (hashes >> np.uint64(_WORD_BITS - slot_bits)).astype(np.int64)
    return slots


def ngrams_for(slot_bits: int) -> int:
    """Return how many n-grams a table of 2 to the power of `slot_bits` slots is large enough for."""
    return max(1, (1 << slot_bits) // _SLOTS_PER_NGRAM)


def slot_bits_for(num_ngrams: int) -> int:
    """Return how many bits a slot's number has in a table of so many n-grams.

    >>> [slot_bits_for(count) for count in (1, 1_000, 4_000_000)]
    [6, 14, 26]
    """
    wanted = (bits for bits in range(MIN_SLOT_BITS, MAX_SLOT_BITS) if ngrams_for(bits) >= num_ngrams)
    return next(wanted, MAX_SLOT_BITS)
