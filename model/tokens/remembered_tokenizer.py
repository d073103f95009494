"""What is found out about a tokenizer once, and again when it was changed in memory."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerBase

from model.tokens.chunk_tokenizer import ChunkTokenizer
from model.tokens.long.long_texts import LongTexts


@dataclass(frozen=True, kw_only=True)
class RememberedTokenizer:
    """What is remembered of a tokenizer.

    Attributes:
        state: of the tokenizer at that time.
        chunks: None where texts are not tokenised by their chunks.
        long_texts: None where they are not shortened.
    """

    state: tuple[object, ...]
    chunks: ChunkTokenizer | None
    long_texts: LongTexts | None


_REMEMBERED: WeakKeyDictionary[PreTrainedTokenizerBase, RememberedTokenizer] = WeakKeyDictionary()


def remembered(tokenizer: PreTrainedTokenizerBase) -> RememberedTokenizer:
    """Return what is remembered of a tokenizer, nothing of one that is written in Python.

    Args:
        tokenizer: any; a fast one must neither truncate nor pad while it is asked.
    """
    if not tokenizer.is_fast:
        return RememberedTokenizer(state=(), chunks=None, long_texts=None)
    state = _state(tokenizer)
    known = _REMEMBERED.get(tokenizer)
    if known is None or known.state != state:
        chunks = ChunkTokenizer.of(tokenizer)
        known = RememberedTokenizer(
            state=state,
            # It cuts texts on the right.
            chunks=chunks if tokenizer.truncation_side == "right" else None,
            long_texts=LongTexts.of(tokenizer, chunks),
        )
        _REMEMBERED[tokenizer] = known
    return known


def _state(tokenizer: PreTrainedTokenizerBase) -> tuple[object, ...]:
    """Return what is another when a tokenizer was changed in memory."""
    backend = tokenizer.backend_tokenizer
    steps = (backend.normalizer, backend.pre_tokenizer, backend.post_processor)
    return (
        len(tokenizer),
        tokenizer.truncation_side,
        tuple(tokenizer.model_input_names),
        *(None if step is None else step.__getstate__() for step in steps),
    )
