"""Texts to token ids, with nothing padded."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, compress

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from model.tokens.chunk_tokenizer import ChunkTokenizer
from model.tokens.lengths import Lengths, chunks, cu_seqlens, token_indices
from model.tokens.remembered_tokenizer import remembered
from model.tokens.truncation import kept_tokens

# A tokenizer returns lists of Python integers, some 36 bytes per token; they live only until packed.
_TEXTS_PER_CALL = 2048
# It takes some 60 bytes for each character of a text.
_CHARACTERS_PER_CALL = 1 << 21
_LOCK = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class TokenizedTexts:
    """Packed token ids of some texts.

    Attributes:
        input_ids: (total_tokens,) int32, special tokens included.
        token_type_ids: (total_tokens,) int32, None where the tokenizer makes none.
        lengths: (rows,) int64 tokens of each text.
        truncated: (rows,) bool, whether tokens were cut off.
        max_length: tokens that each text was cut to.
    """

    input_ids: npt.NDArray[np.int32]
    token_type_ids: npt.NDArray[np.int32] | None
    lengths: Lengths
    truncated: npt.NDArray[np.bool_]
    max_length: int

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: npt.NDArray[np.int64]) -> "TokenizedTexts":
        """Return the texts that `rows` names, in that order."""
        starts, lengths = cu_seqlens(self.lengths)[:-1], self.lengths[rows]
        tokens = token_indices(starts[rows], lengths)
        token_types = self.token_type_ids
        return TokenizedTexts(
            input_ids=self.input_ids[tokens],
            token_type_ids=None if token_types is None else token_types[tokens],
            lengths=lengths,
            truncated=self.truncated[rows],
            max_length=self.max_length,
        )

    def count(self, token_id: int | None) -> Lengths:
        """Return how often a token stands in each text, (rows,); never, where there is no such token."""
        ends = np.cumsum(np.append(0, self.input_ids == token_id))
        counts: Lengths = np.diff(ends[cu_seqlens(self.lengths)])
        return counts


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    max_length: int,
) -> TokenizedTexts:
    """Tokenise texts, or pairs of texts, cutting each to `max_length` tokens (of a pair the longer part).

    A text of which a tokenizer without special tokens makes none, as of blanks, is one unknown token.
    """
    # Threads of a worker share the tokenizer, and a call sets its truncation: one at a time.
    with _LOCK, _restore_truncation_and_padding(tokenizer):
        known = remembered(tokenizer)
        if known.long_texts is not None:
            texts, text_pairs = known.long_texts.shorten(texts, text_pairs, max_length=max_length)
        parts = [
            _tokenize_run(
                tokenizer,
                known.chunks,
                texts[run],
                None if text_pairs is None else text_pairs[run],
                max_length=max_length,
            )
            for run in _runs(texts, text_pairs)
        ]
    return _with_a_token_each(_concatenate(parts, max_length=max_length), tokenizer)


def _with_a_token_each(texts: TokenizedTexts, tokenizer: PreTrainedTokenizerBase) -> TokenizedTexts:
    is_empty = texts.lengths == 0
    if not is_empty.any():
        return texts
    unknown = tokenizer.pad_token_id if tokenizer.unk_token_id is None else tokenizer.unk_token_id
    places, types = cu_seqlens(texts.lengths)[:-1][is_empty], texts.token_type_ids
    return replace(
        texts,
        input_ids=np.insert(texts.input_ids, places, unknown),
        token_type_ids=None if types is None else np.insert(types, places, 0),
        lengths=np.maximum(texts.lengths, 1),
    )


def _runs(texts: Sequence[str], text_pairs: Sequence[str] | None) -> Iterator[slice]:
    """Yield which texts are given to the tokenizer at once."""
    characters = np.fromiter(map(len, texts), np.int64, count=len(texts))
    if text_pairs is not None:
        characters += np.fromiter(map(len, text_pairs), np.int64, count=len(text_pairs))
    for part in chunks(characters, _CHARACTERS_PER_CALL):
        for first in range(part.start, part.stop, _TEXTS_PER_CALL):
            yield slice(first, min(first + _TEXTS_PER_CALL, part.stop))


def _concatenate(parts: Sequence[TokenizedTexts], *, max_length: int) -> TokenizedTexts:
    if not parts:
        none = np.zeros(0, dtype=np.int32)
        return TokenizedTexts(
            input_ids=none,
            token_type_ids=None,
            lengths=none.astype(np.int64),
            truncated=none.astype(np.bool_),
            max_length=max_length,
        )
    token_types = [part.token_type_ids for part in parts if part.token_type_ids is not None]
    return TokenizedTexts(
        input_ids=np.concatenate([part.input_ids for part in parts]),
        token_type_ids=np.concatenate(token_types) if token_types else None,
        lengths=np.concatenate([part.lengths for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
        max_length=max_length,
    )


@contextmanager
def _restore_truncation_and_padding(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Neither cut nor pad, and undo what a call leaves set: saved with it, it would change a checkpoint."""
    if not tokenizer.is_fast:
        yield
        return
    backend = tokenizer.backend_tokenizer
    truncation, padding = backend.truncation, backend.padding
    backend.no_truncation()
    backend.no_padding()
    try:
        yield
    finally:
        backend.no_truncation()
        backend.no_padding()
        if truncation:
            backend.enable_truncation(**truncation)
        if padding:
            backend.enable_padding(**padding)


def _tokenize_run(
    tokenizer: PreTrainedTokenizerBase,
    by_chunks: ChunkTokenizer | None,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None,
    *,
    max_length: int,
) -> TokenizedTexts:
    """Tokenise by chunks what can be, and all else by the tokenizer itself."""
    if by_chunks is None:
        return _tokenize_whole(tokenizer, texts, text_pairs, max_length=max_length)
    found = by_chunks.tokenize(texts, text_pairs, max_length=max_length)
    known = TokenizedTexts(
        input_ids=found.input_ids,
        token_type_ids=found.token_type_ids if by_chunks.has_types else None,
        lengths=found.lengths,
        truncated=found.truncated,
        max_length=max_length,
    )
    others = np.flatnonzero(~found.is_known)
    if not len(others):
        return known
    rows = others.tolist()
    whole = _tokenize_whole(
        tokenizer,
        [texts[row] for row in rows],
        None if text_pairs is None else [text_pairs[row] for row in rows],
        max_length=max_length,
    )
    order = np.argsort(np.concatenate([np.flatnonzero(found.is_known), others]), kind="stable")
    return _concatenate([known, whole], max_length=max_length).take(order)


def _tokenize_whole(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None,
    *,
    max_length: int,
) -> TokenizedTexts:
    """Tokenise texts as they are, and cut those that are too long."""
    pairs = None if text_pairs is None else list(text_pairs)
    encoded = tokenizer(list(texts), pairs, truncation=False, return_attention_mask=False, verbose=False)
    ids, token_types = encoded["input_ids"], encoded.get("token_type_ids")
    truncated = np.fromiter((len(row) > max_length for row in ids), np.bool_, count=len(ids))
    rows = np.flatnonzero(truncated).tolist()
    if rows and not tokenizer.is_fast:
        cut = tokenizer(list(texts), pairs, truncation=True, max_length=max_length)
        ids, token_types = cut["input_ids"], cut.get("token_type_ids")
    elif rows:
        for row in rows:
            is_kept = kept_tokens(
                encoded.sequence_ids(row),
                max_length=max_length,
                on_left=tokenizer.truncation_side == "left",
            ).tolist()
            for columns in (ids,) if token_types is None else (ids, token_types):
                columns[row] = [*compress(columns[row], is_kept)]
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    return TokenizedTexts(
        input_ids=_flat(ids, lengths),
        token_type_ids=None if token_types is None else _flat(token_types, lengths),
        lengths=lengths,
        truncated=truncated,
        max_length=max_length,
    )


def _flat(rows: Sequence[Sequence[int]], lengths: Lengths) -> npt.NDArray[np.int32]:
    return np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(lengths.sum()))
