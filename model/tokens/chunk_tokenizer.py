"""Texts to token ids by their chunks between spaces, each of which is tokenised once.

A corpus is made of few words. Where a tokenizer parts texts at spaces before all else, the ids of a text are
those of its chunks one after another, and most chunks were seen before. Whether it does so is proven, not
believed: by its kind, by texts that are tokenised both ways when a tokenizer is first seen, and for chunks by
tokenising them together as well as one by one. What is not proven is left to the tokenizer itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from model.tokens.chunk_ids import NOT_PROVEN, ChunkIds
from model.tokens.lengths import Lengths, cu_seqlens, token_indices
from model.tokens.special_tokens import Frame
from model.tokens.tokenizer_kinds import may_part_at_spaces

Ids = npt.NDArray[np.int32]

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
        self._takes_space_along = takes_space_along
        self._text, self._pair = text, pair
        specials = [*chain.from_iterable(text.specials), *chain.from_iterable(pair.specials)]
        self._known = ChunkIds(tokenizer, specials=specials, takes_space_along=takes_space_along)

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
        self._known.learn(set(chain.from_iterable(flat)))
        parts = [
            _Chunks(
                numbers=self._known.numbers_of(chunks),
                counts=np.fromiter(map(len, column), np.int64, count=len(column)),
            )
            for chunks, column in zip(flat, split, strict=True)
        ]
        lengths = self._known.lengths
        totals = [part.add_up(lengths) for part in parts]
        num_tokens = np.sum(totals, axis=0) + frame.num_specials
        truncated = num_tokens > max_length
        is_known = np.all([part.smallest(lengths) > NOT_PROVEN for part in parts], axis=0)
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
        per_row = np.sum([part.counts for part in parts], axis=0) + frame.num_specials
        place = cu_seqlens(per_row)[:-1]
        numbers = np.empty(int(per_row.sum()), dtype=np.int64)
        types = np.empty(len(numbers), dtype=np.int32)
        special = 0 if frame is self._text else self._text.num_specials
        lengths = np.empty(len(numbers), dtype=np.int64)
        for index, special_types in enumerate(frame.special_types):
            for special_type in special_types:
                numbers[place], types[place], lengths[place] = special, special_type, 1
                special, place = special + 1, place + 1
            if index < len(parts):
                part = parts[index]
                places = token_indices(place, part.counts)
                numbers[places] = part.numbers
                types[places] = frame.text_types[index]
                lengths[places] = self._cut(part, max_length - frame.num_specials, truncated)
                place = place + part.counts
        tokens = token_indices(self._known.starts[numbers], lengths)
        row_ends = cu_seqlens(lengths)[cu_seqlens(per_row)]
        return ChunkedTexts(
            is_known=is_known,
            input_ids=self._known.ids[tokens],
            token_type_ids=np.repeat(types, lengths),
            lengths=np.diff(row_ends) if num_rows else np.zeros(0, dtype=np.int64),
            truncated=truncated,
        )

    def _cut(self, part: _Chunks, most: int, truncated: npt.NDArray[np.bool_]) -> Lengths:
        """Return how many tokens are taken of each chunk, so that no text has more than `most`."""
        lengths: Lengths = self._known.lengths[part.numbers]
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


def _ask(tokenizer: PreTrainedTokenizerBase, texts: list[str], pairs: list[str] | None) -> Any:
    return tokenizer(texts, pairs, truncation=False, return_attention_mask=False, verbose=False)
