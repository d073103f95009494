"""The ids of chunks, each tokenised once and remembered where that was proven to be right."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain, repeat

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from model.tokens.growing_array import GrowingArray
from model.tokens.lengths import cu_seqlens
from model.tokens.tokenizer_kinds import added_tokens

# Chunks that are remembered at once, some 25 MB; when there are more, those are forgotten that were not met
# for the longest time, and half as many stay.
_MOST_CHUNKS = 1 << 17
# A longer chunk, the space before it counted, is hardly a word and hardly seen again: text without spaces, or
# an address. It is not remembered, and its text is left to the tokenizer.
_LONGEST_CHUNK = 32
# Chunks that are tokenised together for a proof.
_TOGETHER = 64
# The number of tokens of a chunk that is left to the tokenizer.
NOT_PROVEN = -1


class ChunkIds:
    """The ids of the chunks that were met, by number, and before them those of some special tokens.

    A chunk whose ids are not proven to be the same wherever it stands is known to be left to the tokenizer.
    So are all that are too long to be remembered.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        specials: Sequence[int],
        takes_space_along: bool,
    ) -> None:
        """Remember nothing yet.

        Args:
            tokenizer: a fast one, which must neither truncate nor pad while it is asked.
            specials: ids that the first numbers stand for.
            takes_space_along: whether a chunk begins with the space before it.
        """
        self._backend = tokenizer.backend_tokenizer
        self._specials, self._takes_space_along = specials, takes_space_along
        added = added_tokens(tokenizer)
        self._added = {*added, *map(_folded, added)}
        self._calls = 0
        self._begin()

    def __len__(self) -> int:
        """How many chunks are remembered."""
        return len(self._numbers)

    def numbers_of(self, chunks: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return (chunks,) numbers; learn the chunks first."""
        given = map(self._numbers.get, chunks, repeat(len(self._specials)))
        numbers = np.fromiter(given, np.int64, count=len(chunks))
        self._last_met.values[numbers] = self._calls
        return numbers

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """How many ids stand behind each number; `NOT_PROVEN` for one that is left to the tokenizer."""
        return self._lengths.values

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where in `ids` those of each number begin."""
        return self._starts.values

    @property
    def ids(self) -> npt.NDArray[np.int32]:
        """The ids of all numbers, one after another."""
        return self._ids.values

    def learn(self, chunks: set[str]) -> None:
        """Remember the ids of chunks that were not seen before."""
        new = [chunk for chunk in chunks - self._numbers.keys() if len(chunk) <= _LONGEST_CHUNK]
        if not new:
            return
        self._calls += 1
        if len(self._numbers) + len(new) > _MOST_CHUNKS:
            self._make_room(chunks, most_kept=min(_MOST_CHUNKS // 2, _MOST_CHUNKS - len(new)))
        plain = [chunk for chunk in new if self._is_plain(chunk)]
        ids = dict(zip(plain, self._encode(plain), strict=True))
        if self._takes_space_along:
            spaced = [chunk for chunk in plain if chunk[0] == " "]
            proven = {*self._proven(spaced, ids), *self._proven_as_first(ids.keys() - set(spaced), ids)}
        else:
            proven = set(self._proven(plain, ids))
        first = self._append([ids[chunk] if chunk in proven else None for chunk in new])
        self._numbers.update(zip(new, range(first, first + len(new)), strict=True))

    def _begin(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ids = GrowingArray(np.int32)
        self._starts, self._lengths = GrowingArray(np.int64), GrowingArray(np.int64)
        # By number, the call in which it was asked for last.
        self._last_met = GrowingArray(np.int64)
        # Behind the special tokens, which no chunk is called by, the number of all that is not remembered.
        self._append([*([special] for special in self._specials), None])

    def _make_room(self, needed: set[str], *, most_kept: int) -> None:
        """Forget all chunks but those that were met last, and those that are needed now, however many."""
        for chunk in needed & self._numbers.keys():
            self._last_met.values[self._numbers[chunk]] = self._calls
        # Numbers were given in the order of the dictionary.
        chunks, first = list(self._numbers), len(self._specials) + 1
        last_met, ids = self._last_met.values[first:], self.ids
        starts, lengths = self.starts[first:], self.lengths[first:]
        order = np.argsort(-last_met, kind="stable")
        num_needed = int((last_met == self._calls).sum())
        kept = np.sort(order[: max(num_needed, most_kept)])
        self._begin()
        self._append(
            [
                None if length == NOT_PROVEN else ids[start : start + length].tolist()
                for start, length in zip(starts[kept].tolist(), lengths[kept].tolist(), strict=True)
            ]
        )
        self._last_met.values[first:] = last_met[kept]
        self._numbers = {chunks[index]: first + place for place, index in enumerate(kept.tolist())}

    def _append(self, rows: Sequence[Sequence[int] | None]) -> int:
        """Add the ids of chunks, None of those that are left to the tokenizer; return the first number."""
        first = len(self._lengths)
        known = [row or () for row in rows]
        lengths = np.fromiter(map(len, known), np.int64, count=len(rows))
        self._starts.extend(len(self._ids) + cu_seqlens(lengths)[:-1])
        self._ids.extend(np.fromiter(chain.from_iterable(known), np.int32, count=int(lengths.sum())))
        lengths[[row is None for row in rows]] = NOT_PROVEN
        self._lengths.extend(lengths)
        self._last_met.extend(np.full(len(rows), self._calls, dtype=np.int64))
        return first

    def _is_plain(self, chunk: str) -> bool:
        """Return whether a chunk is worth a proof: a word of visible characters, and no added token."""
        word = chunk[1:] if self._takes_space_along and chunk[:1] == " " else chunk
        if not word:
            # What stands between two spaces: nothing, where these are not taken along.
            return not self._takes_space_along
        if not word.isprintable():
            return False
        folded = word if word.isascii() and word.islower() else _folded(word)
        return not any(token in word or token in folded for token in self._added)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [each.ids for each in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _proven(self, chunks: Sequence[str], ids: dict[str, list[int]]) -> Iterator[str]:
        """Yield the chunks that have the same ids among others, alone and behind each other."""
        separator, end = ("", " a") if self._takes_space_along else (" ", "a")
        around = self._encode(["a", end])

        def among(group: Sequence[str]) -> str:
            return separator.join(["a", *group, end])

        groups = [chunks[first : first + _TOGETHER] for first in range(0, len(chunks), _TOGETHER)]
        together = self._encode([among(group) for group in groups])
        for group, found in zip(groups, together, strict=True):
            if found == [*around[0], *chain.from_iterable(map(ids.__getitem__, group)), *around[1]]:
                yield from group
                continue
            for chunk, alone in zip(group, self._encode([among([chunk]) for chunk in group]), strict=True):
                if alone == [*around[0], *ids[chunk], *around[1]]:
                    yield chunk

    def _proven_as_first(self, chunks: Sequence[str] | set[str], ids: dict[str, list[int]]) -> Iterator[str]:
        """Yield the chunks that have the same ids alone and before others."""
        ordered = list(chunks)
        [end] = self._encode([" a"])
        for chunk, found in zip(ordered, self._encode([f"{chunk} a" for chunk in ordered]), strict=True):
            if found == [*ids[chunk], *end]:
                yield chunk


def _folded(text: str) -> str:
    """Return text as an added token may be looked for in it."""
    return unicodedata.normalize("NFKC", text).casefold()
