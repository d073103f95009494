"""Texts to token ids by their chunks between spaces, each of which is tokenised once.

A corpus is made of few words. Where a tokenizer parts texts at spaces before all else, the ids of a text are
those of its chunks one after another, and most chunks were seen before. Whether it does so is proven, not
believed: by its kind, by texts that are tokenised both ways when a tokenizer is first seen, and for chunks by
tokenising them together as well as one by one. What is not proven is left to the tokenizer itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from model.tokens.growing_array import GrowingArray
from model.tokens.packing import Lengths, cu_seqlens, token_indices
from model.tokens.special_tokens import Frame
from model.tokens.tokenizer_kinds import added_tokens, may_part_at_spaces

Ids = npt.NDArray[np.int32]

# Chunks that are remembered at once, some 50 MB; when there are more, all are forgotten.
_MOST_CHUNKS = 1 << 18
# A longer chunk, the space before it counted, is hardly a word and hardly seen again: text without spaces, or
# an address. It is not remembered, and its text is left to the tokenizer.
_LONGEST_CHUNK = 32
# Chunks that are tokenised together for a proof.
_TOGETHER = 64
# The number of tokens of a chunk that is left to the tokenizer.
_NOT_PROVEN = -1

# Tokenised both ways when a tokenizer is first seen.
_PROBES = (
    "a",
    "the quick brown Fox, it's jumping (over) 12,345 lazy-dogs!",
    "Naïve cafés; ÅNGSTRÖM straße ﬁne Ⅻ ½ ¨dots` ``quoted'' don't we'll I'M",
    "日本語 テキスト 한국어 中文，字 ру́сский عربى עברית हिन्दी ไทย",
    "emoji 🙂 👍🏽 ✈️ x² ™ … “quotes” – dash",
    "un­soft zero​width nb space ​x ⁠y",
    "  two  spaces ",
    "tab\tline\nbreak \n x",
    "unaffable transformers tokenization antidisestablishmentarianism",
    "www.example.org/path?query=1&b=2 user@example.org",
    "",
    "▁under ▁",
    "[SEP] <s> </s> [MASK] <mask> [UNK] <unk>",
    "another plain line of words",
    "and one more",
)
# Of a tokenizer for which fewer are known, nothing is proven.
_FEWEST_KNOWN_PROBES = 3


@dataclass(frozen=True, kw_only=True)
class ChunkedTexts:
    """Texts whose ids are known; see `TokenizedTexts`.

    Attributes:
        is_known: (texts,) bool, of all texts that were asked for; what follows is of those that are True.
        input_ids: (total_tokens,) int32.
        token_type_ids: (total_tokens,) int32.
        lengths: (known,) int64.
        truncated: (known,) bool.
    """

    is_known: npt.NDArray[np.bool_]
    input_ids: Ids
    token_type_ids: Ids
    lengths: Lengths
    truncated: npt.NDArray[np.bool_]


class ChunkTokenizer:
    """Remembers the ids of chunks for a tokenizer, which must neither truncate nor pad while it is asked."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        takes_space_along: bool,
        text: Frame,
        pair: Frame,
        has_types: bool,
    ) -> None:
        """Remember nothing yet; `of` makes one where that is proven to be right."""
        self.has_types = has_types
        self._backend = tokenizer.backend_tokenizer
        self._takes_space_along = takes_space_along
        self._text, self._pair = text, pair
        added = added_tokens(tokenizer)
        self._added = {*added, *map(_folded, added)}
        self._forget()

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> ChunkTokenizer | None:
        """Return one for a fast tokenizer, None where it is not proven to part texts at spaces first."""
        if not may_part_at_spaces(tokenizer):
            return None
        for takes_space_along in (False, True):
            chunks = cls._framed(tokenizer, takes_space_along=takes_space_along)
            if chunks is not None and chunks._equals(tokenizer):
                return chunks
        return None

    @classmethod
    def _framed(cls, tokenizer: PreTrainedTokenizerBase, *, takes_space_along: bool) -> ChunkTokenizer | None:
        """Return one that knows the special tokens, None where it cannot tell them from the texts'."""
        body = tokenizer.backend_tokenizer.encode("a", add_special_tokens=False).ids
        frames = []
        for pairs in (None, ["a"]):
            encoded = _ask(tokenizer, ["a"], pairs)
            ids, types = encoded["input_ids"][0], encoded.get("token_type_ids")
            frame = Frame.around(body, ids, types and types[0], num_texts=1 if pairs is None else 2)
            if frame is None:
                return None
            frames.append(frame)
        text, pair = frames
        return cls(
            tokenizer, takes_space_along=takes_space_along, text=text, pair=pair, has_types=types is not None
        )

    def _equals(self, tokenizer: PreTrainedTokenizerBase) -> bool:
        """Return whether the probes have the ids that the tokenizer gives them."""
        for pairs in (None, _PROBES[::-1]):
            found = self.tokenize(_PROBES, pairs, max_length=1 << 30)
            encoded = _ask(tokenizer, list(_PROBES), None if pairs is None else list(pairs))
            rows = np.flatnonzero(found.is_known).tolist()
            if len(rows) < _FEWEST_KNOWN_PROBES:
                return False
            for name, values in (("input_ids", found.input_ids), ("token_type_ids", found.token_type_ids)):
                expected = encoded.get(name)
                if expected is not None and values.tolist() != [*chain(*(expected[row] for row in rows))]:
                    return False
        return True

    def tokenize(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None, *, max_length: int
    ) -> ChunkedTexts:
        """Return the ids of all texts but those that are left to the tokenizer.

        Args:
            texts: at least one.
            text_pairs: the second text of each pair; a pair that must be cut is left to the tokenizer.
            max_length: tokens that a text is cut to.
        """
        frame = self._text if text_pairs is None else self._pair
        columns = [texts] if text_pairs is None else [texts, text_pairs]
        split = [[self._split(text) for text in column] for column in columns]
        flat = [list(chain.from_iterable(column)) for column in split]
        self._learn(set(chain.from_iterable(flat)))
        unknown = repeat(self._unknown)
        parts = [
            _Chunks(
                numbers=np.fromiter(map(self._numbers.get, chunks, unknown), np.int64, count=len(chunks)),
                counts=np.fromiter(map(len, column), np.int64, count=len(column)),
            )
            for chunks, column in zip(flat, split, strict=True)
        ]
        lengths = self._lengths.values
        totals = [part.add_up(lengths) for part in parts]
        num_tokens = np.sum(totals, axis=0) + frame.num_specials
        truncated = num_tokens > max_length
        is_known = np.all([part.smallest(lengths) > _NOT_PROVEN for part in parts], axis=0)
        if text_pairs is not None:
            is_known &= ~truncated
        parts = [part.take(is_known) for part in parts]
        return self._assemble(
            frame, parts, is_known=is_known, truncated=truncated[is_known], max_length=max_length
        )

    def _assemble(
        self,
        frame: Frame,
        parts: Sequence[_Chunks],
        *,
        is_known: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
        max_length: int,
    ) -> ChunkedTexts:
        """Put special tokens and chunks one after another."""
        num_rows = len(truncated)
        per_row = np.sum([part.counts for part in parts], axis=0) + len(frame.specials)
        place = cu_seqlens(per_row)[:-1]
        numbers = np.empty(int(per_row.sum()), dtype=np.int64)
        types = np.empty(len(numbers), dtype=np.int32)
        first_special = 0 if frame is self._text else len(self._text.specials)
        lengths = np.empty(len(numbers), dtype=np.int64)
        for index, special_type in enumerate(frame.special_types):
            numbers[place] = first_special + index
            types[place] = special_type
            lengths[place] = len(frame.specials[index])
            place = place + 1
            if index < len(parts):
                part = parts[index]
                places = token_indices(place, part.counts)
                numbers[places] = part.numbers
                types[places] = frame.text_types[index]
                lengths[places] = self._cut(part, max_length - frame.num_specials, truncated)
                place = place + part.counts
        tokens = token_indices(self._starts.values[numbers], lengths)
        row_ends = cu_seqlens(lengths)[cu_seqlens(per_row)]
        return ChunkedTexts(
            is_known=is_known,
            input_ids=self._ids.values[tokens],
            token_type_ids=np.repeat(types, lengths),
            lengths=np.diff(row_ends) if num_rows else np.zeros(0, dtype=np.int64),
            truncated=truncated,
        )

    def _cut(self, part: _Chunks, most: int, truncated: npt.NDArray[np.bool_]) -> Lengths:
        """Return how many tokens are taken of each chunk, so that no text has more than `most`."""
        lengths: Lengths = self._lengths.values[part.numbers]
        if not truncated.any():
            return lengths
        before = cu_seqlens(lengths)
        in_text = before[:-1] - np.repeat(before[cu_seqlens(part.counts)[:-1]], part.counts)
        cut: Lengths = np.clip(most - in_text, 0, lengths)
        return cut

    def _split(self, text: str) -> list[str]:
        if not self._takes_space_along:
            return text.split(" ")
        # Text of which nothing is known where the mark stands in it by itself.
        return text.replace(" ", "\0 ").split("\0") if "\0" not in text else [""]

    def _forget(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ids = GrowingArray(np.int32)
        self._starts, self._lengths = GrowingArray(np.int64), GrowingArray(np.int64)
        # The first numbers are those of the special tokens, which no chunk is called by; then that of all
        # chunks that are not remembered.
        specials = [*self._text.specials, *self._pair.specials]
        self._append([*specials, None])
        self._unknown = len(specials)

    def _append(self, rows: Sequence[Sequence[int] | None]) -> int:
        """Add the ids of chunks, None of those that are left to the tokenizer; return the first number."""
        first = len(self._lengths)
        known = [row or () for row in rows]
        lengths = np.fromiter(map(len, known), np.int64, count=len(rows))
        self._starts.extend(len(self._ids) + cu_seqlens(lengths)[:-1])
        self._ids.extend(np.fromiter(chain.from_iterable(known), np.int32, count=int(lengths.sum())))
        lengths[[row is None for row in rows]] = _NOT_PROVEN
        self._lengths.extend(lengths)
        return first

    def _learn(self, chunks: set[str]) -> None:
        """Remember the ids of chunks that were not seen before."""
        new = [chunk for chunk in chunks - self._numbers.keys() if len(chunk) <= _LONGEST_CHUNK]
        if not new:
            return
        if len(self._numbers) + len(new) > _MOST_CHUNKS:
            self._forget()
            new = [chunk for chunk in chunks if len(chunk) <= _LONGEST_CHUNK]
        plain = [chunk for chunk in new if self._is_plain(chunk)]
        ids = dict(zip(plain, self._encode(plain), strict=True))
        if self._takes_space_along:
            spaced = [chunk for chunk in plain if chunk[0] == " "]
            proven = {*self._proven(spaced, ids), *self._proven_as_first(ids.keys() - set(spaced), ids)}
        else:
            proven = set(self._proven(plain, ids))
        first = self._append([ids[chunk] if chunk in proven else None for chunk in new])
        self._numbers.update(zip(new, range(first, first + len(new)), strict=True))

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
        return [each.ids for each in self._backend.encode_batch(list(texts), add_special_tokens=False)]

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


@dataclass(frozen=True, kw_only=True)
class _Chunks:
    """The chunks of some texts.

    Attributes:
        numbers: (chunks,) int64, of each.
        counts: (texts,) how many each text has, at least one.
    """

    numbers: npt.NDArray[np.int64]
    counts: Lengths

    def add_up(self, lengths: Lengths) -> Lengths:
        """Return the sum over each text's chunks of what stands at their numbers."""
        total: Lengths = np.add.reduceat(lengths[self.numbers], cu_seqlens(self.counts)[:-1])
        return total

    def smallest(self, lengths: Lengths) -> Lengths:
        """Return the smallest instead of the sum."""
        smallest: Lengths = np.minimum.reduceat(lengths[self.numbers], cu_seqlens(self.counts)[:-1])
        return smallest

    def take(self, rows: npt.NDArray[np.bool_]) -> _Chunks:
        """Return those of some texts."""
        if rows.all():
            return self
        return _Chunks(numbers=self.numbers[np.repeat(rows, self.counts)], counts=self.counts[rows])


def _folded(text: str) -> str:
    """Return text as an added token may be looked for in it."""
    return unicodedata.normalize("NFKC", text).casefold()


def _ask(tokenizer: PreTrainedTokenizerBase, texts: list[str], pairs: list[str] | None) -> Any:
    return tokenizer(texts, pairs, truncation=False, return_attention_mask=False, verbose=False)
