"""Texts to token ids, with nothing padded."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, compress
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from model.tokens.chunk_tokenizer import ChunkTokenizer
from model.tokens.packing import Lengths, cu_seqlens, token_indices
from model.tokens.truncation import kept_tokens

# A tokenizer returns lists of Python integers, some 36 bytes per token; they live only until packed.
_TEXTS_PER_CALL = 2048
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


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    max_length: int,
) -> TokenizedTexts:
    """Tokenise texts, or pairs of texts, cutting each to `max_length` tokens (of a pair the longer part)."""
    runs = [slice(first, first + _TEXTS_PER_CALL) for first in range(0, len(texts), _TEXTS_PER_CALL)]
    # Threads of a worker share the tokenizer, and a call sets its truncation: one at a time.
    with _LOCK, _restore_truncation_and_padding(tokenizer):
        chunks = _chunk_tokenizer(tokenizer)
        parts = [
            _tokenize_run(
                tokenizer,
                chunks,
                texts[run],
                None if text_pairs is None else text_pairs[run],
                max_length=max_length,
            )
            for run in runs
        ]
    return _concatenate(parts, max_length=max_length)


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


@dataclass(frozen=True, kw_only=True)
class _Remembered:
    """What is remembered of a tokenizer.

    Attributes:
        state: of the tokenizer at that time.
        chunks: None where texts are not tokenised by their chunks.
    """

    state: tuple[object, ...]
    chunks: ChunkTokenizer | None


_REMEMBERED: WeakKeyDictionary[PreTrainedTokenizerBase, _Remembered] = WeakKeyDictionary()


def _chunk_tokenizer(tokenizer: PreTrainedTokenizerBase) -> ChunkTokenizer | None:
    """Return what remembers the ids of a tokenizer's chunks, None where that would not be exact."""
    if not tokenizer.is_fast:
        return None
    state = _state(tokenizer)
    remembered = _REMEMBERED.get(tokenizer)
    if remembered is None or remembered.state != state:
        remembered = _Remembered(state=state, chunks=ChunkTokenizer.of(tokenizer))
        _REMEMBERED[tokenizer] = remembered
    return remembered.chunks


def _state(tokenizer: PreTrainedTokenizerBase) -> tuple[object, ...]:
    """Return what is another when a tokenizer was changed in memory."""
    backend = tokenizer.backend_tokenizer
    steps = (backend.normalizer, backend.pre_tokenizer, backend.post_processor)
    return (
        len(tokenizer),
        tokenizer.truncation_side,
        *(None if step is None else step.__getstate__() for step in steps),
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
    chunks: ChunkTokenizer | None,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None,
    *,
    max_length: int,
) -> TokenizedTexts:
    """Tokenise by chunks what can be, and all else by the tokenizer itself."""
    if chunks is None:
        return _tokenize_whole(tokenizer, texts, text_pairs, max_length=max_length)
    found = chunks.tokenize(texts, text_pairs, max_length=max_length)
    known = TokenizedTexts(
        input_ids=found.input_ids,
        token_type_ids=found.token_type_ids if chunks.has_types else None,
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
