"""Shorter texts in the place of long ones, of which the tokenizer would read all and keep little.

The ids that a text is cut to are those of the shorter one, and so is whether anything was cut. Nothing is
guessed: see `Partings`, `IdleRuns` and `SureTokens`. A long text that none of them shortens stays whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from model.tokens.chunk_tokenizer import ChunkTokenizer
from model.tokens.long.idle_runs import IdleRuns
from model.tokens.long.partings import Partings
from model.tokens.long.sure_tokens import SureTokens
from model.tokens.tokenizer_kinds import sees_only_nearby

# A text with more characters for each token that is kept is long: in words a token has about five.
_CHARACTERS_PER_TOKEN = 16
# What is looked at where these do not suffice.
_MOST_CHARACTERS_PER_TOKEN = 64
_WHOLE = 1 << 17
# Beyond it no beginning is tried.
_FARTHEST = 1 << 20
# Characters of a text whose tokens are counted together, and of a call that counts.
_PIECE = 1 << 12
_PIECES_PER_CALL = 1 << 8
# Of texts that are both too long, so many times more is read until one ends.
_MORE = 8
_NO_LIMIT = 1 << 30


class LongTexts:
    """Shortens long texts for a tokenizer, which must neither truncate nor pad while it is asked."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chunks: ChunkTokenizer | None) -> None:
        """Look at a tokenizer once; `of` does where texts can be shortened for it."""
        self._chunks = chunks
        self._backend = tokenizer.backend_tokenizer
        self._num_specials = tokenizer.num_special_tokens_to_add(pair=False)
        self._num_pair_specials = tokenizer.num_special_tokens_to_add(pair=True)
        self._keeps_end = tokenizer.truncation_side == "left"
        self._partings, self._idle_runs = Partings(tokenizer), IdleRuns(tokenizer)
        self._sure_tokens = SureTokens(tokenizer)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, chunks: ChunkTokenizer | None) -> LongTexts | None:
        """Return one for a fast tokenizer, None where it is not known how far it sees.

        Args:
            tokenizer: it.
            chunks: what counts tokens faster, None where there is none.
        """
        return cls(tokenizer, chunks) if sees_only_nearby(tokenizer) else None

    def shorten(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None, *, max_length: int
    ) -> tuple[Sequence[str], Sequence[str] | None]:
        """Return texts, or pairs, that are cut to the same ids as those given.

        Args:
            texts: of any length.
            text_pairs: the second text of each pair.
            max_length: tokens that each text is cut to, of a pair the longer part.
        """
        if text_pairs is None:
            return [self.shortened(text, most=max_length) for text in texts], None
        pairs = [self._pair(pair, max_length) for pair in zip(texts, text_pairs, strict=True)]
        return [first for first, _ in pairs], [second for _, second in pairs]

    def shortened(self, text: str, *, most: int) -> str:
        """Return a text with the same ids, or with more than `most` of which the first `most` are the same.

        Args:
            text: of any length.
            most: how many ids count; the last ones of a tokenizer that cuts texts on the left.
        """
        if len(text) <= _CHARACTERS_PER_TOKEN * most:
            return text
        part = self._between_partings(text, most)
        whole = max(_WHOLE, _MOST_CHARACTERS_PER_TOKEN * most)
        if part is not None or len(text) <= whole:
            return text if part is None else part
        text = self._idle_runs.shortened(text)
        if len(text) <= whole:
            return text
        part = self._between_partings(text, most)
        size = _CHARACTERS_PER_TOKEN * most
        while part is None and size <= min(_FARTHEST, len(text)) and not self._keeps_end:
            part = self._sure_tokens.beginning(text, most=most, size=size)
            size *= 2
        return text if part is None else part

    def _between_partings(self, text: str, most: int) -> str | None:
        find = self._partings.end if self._keeps_end else self._partings.beginning
        size = max(_WHOLE, _MOST_CHARACTERS_PER_TOKEN * most)
        part = find(text, most=most, size=_CHARACTERS_PER_TOKEN * most)
        return find(text, most=most, size=size) if part is None else part

    def _pair(self, pair: tuple[str, str], max_length: int) -> tuple[str, str]:
        first, second = (self.shortened(text, most=max_length) for text in pair)
        num_kept = max_length - self._num_pair_specials
        # Where both are cut to a half, the longer one has the odd token.
        if (first is pair[0] and second is pair[1]) or num_kept % 2 == 0:
            return first, second
        counts = self._num_tokens(first), self._num_tokens(second)
        if min(counts) <= max_length:
            return first, second
        is_longer = self._is_longer(pair, max_length)
        if is_longer and counts[0] <= counts[1]:
            first = self.shortened(pair[0], most=counts[1])
        elif not is_longer and counts[0] > counts[1]:
            second = self.shortened(pair[1], most=counts[0])
        return first, second

    def _is_longer(self, pair: tuple[str, str], most: int) -> bool:
        """Return whether the first text has more tokens than the second, reading both until one ends."""
        while True:
            most *= _MORE
            parts = [self.shortened(text, most=most) for text in pair]
            first, second = map(self._num_tokens, parts)
            if min(first, second) <= most or (parts[0] is pair[0] and parts[1] is pair[1]):
                return first > second

    def _num_tokens(self, text: str) -> int:
        pieces = [*self._partings.pieces(text, size=_PIECE)]
        calls = (pieces[at : at + _PIECES_PER_CALL] for at in range(0, len(pieces), _PIECES_PER_CALL))
        return sum(map(self._num_tokens_together, calls))

    def _num_tokens_together(self, pieces: Sequence[str]) -> int:
        num_tokens = 0
        if self._chunks is not None:
            found = self._chunks.tokenize(pieces, None, max_length=_NO_LIMIT)
            num_tokens = len(found.input_ids) - self._num_specials * len(found.lengths)
            pieces = [pieces[row] for row in np.flatnonzero(~found.is_known).tolist()]
        others = self._backend.encode_batch_fast(pieces, add_special_tokens=False)
        return num_tokens + sum(len(encoded.ids) for encoded in others)
