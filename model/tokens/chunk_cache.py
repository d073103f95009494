"""Texts to token ids by their chunks between spaces, each of which is tokenised once.

A corpus is made of few words. Where a tokenizer parts texts at spaces before all else, the ids of a text are
those of its chunks one after another, and most chunks were seen before. Whether it does so is proven, not
believed: by its kind, by texts that are tokenised both ways when a tokenizer is first seen, and for chunks by
tokenising them together as well as one by one. What is not proven is left to the tokenizer itself.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from model.tokens.packing import Lengths, cu_seqlens

Ids = npt.NDArray[np.int32]
Segments = tuple[int, ...]

# Chunks that are remembered at once, some 50 MB; when there are more, all are forgotten.
_MOST_CHUNKS = 1 << 18
# A longer chunk is hardly a word, and hardly seen again: text without spaces, or an address.
_LONGEST_CHUNK = 32
# Each added token is looked for in every new chunk; a tokenizer that has more of them is asked itself.
_MOST_ADDED_TOKENS = 200
# Chunks that are tokenised together for a proof.
_TOGETHER = 64
# The number of tokens of a chunk that is left to the tokenizer.
_NOT_PROVEN = -1

# Steps that see no further than to the next space, which `ByteLevel` takes along.
_NORMALIZERS = {
    "BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Replace", "Strip",
    "StripAccents",
}  # fmt: skip
_PRE_TOKENIZERS = {
    "BertPreTokenizer", "ByteLevel", "Metaspace", "Punctuation", "Whitespace", "WhitespaceSplit"
}  # fmt: skip
_MODELS = {"BPE", "Unigram", "WordPiece"}

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
class _Frame:
    """The special tokens around a text, or around the texts of a pair.

    Attributes:
        specials: ids before the first text, and after each.
        special_types: the token type of each of these.
        text_types: the token type of each text.
    """

    specials: tuple[Segments, ...]
    special_types: Segments
    text_types: Segments

    @property
    def num_specials(self) -> int:
        return sum(map(len, self.specials))

    @classmethod
    def around(
        cls, body: list[int], ids: list[int], types: list[int] | None, *, num_texts: int
    ) -> _Frame | None:
        """Return what stands around texts that all have the ids `body`, None where that is not to be told."""
        types = types or [0] * len(ids)
        specials: list[Segments] = []
        special_types, text_types = [], []
        place = 0
        for _ in range(num_texts):
            start = next((at for at in range(place, len(ids)) if ids[at : at + len(body)] == body), None)
            if start is None or not body:
                return None
            specials.append(tuple(ids[place:start]))
            special_types.append(types[place])
            text_types.append(types[start])
            place = start + len(body)
        specials.append(tuple(ids[place:]))
        special_types.append(types[place] if place < len(ids) else 0)
        return cls(specials=tuple(specials), special_types=tuple(special_types), text_types=tuple(text_types))


class _Column:
    """An array that grows."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._values = np.empty(1 << 12, dtype=dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> npt.NDArray[Any]:
        return self._values[: self._size]

    def extend(self, new: npt.NDArray[Any]) -> None:
        size = self._size + len(new)
        if size > len(self._values):
            grown = np.empty(max(size, 2 * len(self._values)), dtype=self._values.dtype)
            grown[: self._size] = self.values
            self._values = grown
        self._values[self._size : size] = new
        self._size = size


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
        text: _Frame,
        pair: _Frame,
        has_types: bool,
    ) -> None:
        """Remember nothing yet; `of` makes one where that is proven to be right."""
        self.has_types = has_types
        self._backend = tokenizer.backend_tokenizer
        self._takes_space_along = takes_space_along
        self._text, self._pair = text, pair
        added = [str(token) for token in tokenizer.added_tokens_decoder.values()]
        self._added = {*added, *map(_folded, added)}
        self._forget()

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> ChunkTokenizer | None:
        """Return one for a fast tokenizer, None where it is not proven to part texts at spaces first."""
        added = [str(token) for token in tokenizer.added_tokens_decoder.values()]
        if len(added) > _MOST_ADDED_TOKENS or any(" " in token for token in added):
            return None
        if tokenizer.truncation_side != "right" or not _has_known_kinds(tokenizer.backend_tokenizer):
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
            frame = _Frame.around(body, ids, types and types[0], num_texts=1 if pairs is None else 2)
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
        parts = [
            _Chunks(
                numbers=np.fromiter(map(self._numbers.__getitem__, chunks), np.int64, count=len(chunks)),
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
        frame: _Frame,
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
                places = np.repeat(place - cu_seqlens(part.counts)[:-1], part.counts) + np.arange(
                    len(part.numbers)
                )
                numbers[places] = part.numbers
                types[places] = frame.text_types[index]
                lengths[places] = self._cut(part, max_length - frame.num_specials, truncated)
                place = place + part.counts
        tokens = np.repeat(self._starts.values[numbers] - cu_seqlens(lengths)[:-1], lengths)
        tokens += np.arange(len(tokens))
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
        self._ids, self._starts, self._lengths = _Column(np.int32), _Column(np.int64), _Column(np.int64)
        # The first numbers are those of the special tokens, which no chunk is called by.
        self._append([*self._text.specials, *self._pair.specials])

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
        new = chunks - self._numbers.keys()
        if not new:
            return
        if len(self._numbers) + len(new) > _MOST_CHUNKS:
            self._forget()
            new = chunks
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
        if len(word) > _LONGEST_CHUNK or not word.isprintable():
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


def _has_known_kinds(backend: Any) -> bool:
    """Return whether nothing in a tokenizer is known to see further than to the next space."""
    if type(backend.model).__name__ not in _MODELS:
        return False
    if backend.pre_tokenizer is None:
        return False
    steps = [(backend.normalizer, _NORMALIZERS), (backend.pre_tokenizer, _PRE_TOKENIZERS)]
    return all(
        known.issuperset(_kinds(json.loads(step.__getstate__()))) for step, known in steps if step is not None
    )


def _kinds(step: dict[str, Any]) -> Iterator[str]:
    """Yield the kinds of a step's parts."""
    parts = step.get("normalizers") or step.get("pretokenizers")
    if parts is None:
        # One that does not split leaves words to be joined.
        yield step["type"] if step.get("split", True) else "no split"
    else:
        for part in parts:
            yield from _kinds(part)
