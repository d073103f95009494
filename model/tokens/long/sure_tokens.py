"""How many tokens of a text's beginning are sure, whatever follows.

What follows may change the last word. Inside a word BPE and Unigram have a rule of their own: where its
tokens part, those before are the tokens of what stands before, taken alone. BPE merged nothing across that
place, and so merged before it what it would have merged alone; of Unigram's best path each beginning is the
best one. Within the length of the longest token they do part somewhere. So the tokens that a word has in
common, wherever within that length it is cut, are sure.
"""

from __future__ import annotations

import re
from functools import cached_property
from itertools import takewhile

from transformers import PreTrainedTokenizerBase

from model.tokens.tokenizer_kinds import added_forms, step_kinds, words

# To every normaliser one character at least each, and at most so many bytes, whatever stands before it.
_SOLID = "[!-~À-ÖØ-öø-ÿΑ-Ρα-ωА-Яа-яא-תء-غف-يก-ฮぁ-ゔァ-ヺ一-鿿가-힣🌀-🏺🐀-🙏]"
_BLANK, _NOT_BLANK = "[ \t\n\r]", re.compile("[^ \t\n\r]")
_MOST_BYTES = 12
# Where a word is cut, for a place with known characters only.
_ENDS_TRIED = 1 << 10


class SureTokens:
    """Counts the sure tokens of beginnings."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Look at a tokenizer once.

        Args:
            tokenizer: one of those that `sees_only_nearby` knows.
        """
        # Not the tokenizer, which is not to be held by what is remembered of it.
        self._backend = tokenizer.backend_tokenizer
        model = self._backend.model
        added = tokenizer.added_tokens_decoder.values()
        # A token that is looked for first may reach beyond a beginning, and take blanks along.
        self._margin = max(map(len, added_forms(tokenizer)), default=0) + 2
        self._take_blanks = tuple(str(token) for token in added if token.lstrip)
        self._parts_words = type(model).__name__ == "Unigram" or (
            type(model).__name__ == "BPE"
            and not model.continuing_subword_prefix
            and not model.end_of_word_suffix
        )
        # Where nothing is normalised, all but blanks are.
        solid = r"\S" if self._backend.normalizer is None else _SOLID
        self._solid = re.compile(f"{solid}{{{self._margin}}}")
        # A token that is looked for when a text is normalised may be spelt in many ways.
        is_plain = not any(token.lstrip and token.normalized for token in added)
        keeps_blanks = is_plain and "Strip" not in step_kinds(self._backend.normalizer)
        self._blank = re.compile(f"{_BLANK}{{{self._margin}}}") if keeps_blanks else None

    def beginning(self, text: str, *, most: int, size: int) -> str | None:
        """Return a beginning with more than `most` sure tokens, None if `size` characters have fewer."""
        places = [*self._solid.finditer(text, 0, size)][-1:]
        if self._blank is not None:
            blank = [*self._blank.finditer(text, 0, size)][-1:]
            places += [found for found in blank if not self._may_be_taken(text, found.end())]
        if not places:
            return None
        part = text[: max(found.end() for found in places)]
        return part if self._count(part, most) > most else None

    @cached_property
    def _longest(self) -> int:
        """Characters of the longest token; of a vocabulary of many this takes a while."""
        return max(map(len, self._backend.get_vocab(with_added_tokens=False)))

    def _may_be_taken(self, text: str, at: int) -> bool:
        """Return whether a token that stands behind the blanks at a place may take them along."""
        behind = _NOT_BLANK.search(text, at)
        if behind is None:
            return False
        return behind.group().isspace() or text.startswith(self._take_blanks, behind.start())

    def _count(self, text: str, most: int) -> int:
        """Return how many tokens of a beginning, which ends solidly, are sure; 0 of `most` or fewer."""
        encoded = self._backend.encode(text, add_special_tokens=False)
        word_ids, ids = encoded.word_ids, encoded.ids
        if len(ids) <= most:
            return 0
        last = word_ids.index(word_ids[-1])
        before: int = sum(end <= len(text) - self._margin for _, end in encoded.offsets[:last])
        return before if before < last else last + self._count_in_word(text, ids[last:])

    def _count_in_word(self, text: str, ids: list[int]) -> int:
        """Return how many of the ids of the last word are sure."""
        if not self._parts_words:
            return 0
        word = words(self._backend, text)[-1]
        # An added token before it may have made another word of it.
        if self._ids(word) != ids:
            return 0
        # BPE may know a short word as a whole.
        last = len(word) - _MOST_BYTES * self._margin
        stops = range(last, max(last - _ENDS_TRIED, 2 * self._longest), -1)
        stop = next((stop for stop in stops if self._are_known(word[stop - self._longest : stop])), None)
        if stop is None:
            return 0
        cuts = [self._ids(word[:end]) for end in range(stop - self._longest + 1, stop + 1)]
        # What the first and the last of sorted lists begin with, all begin with.
        return sum(
            1 for _ in takewhile(lambda both: both[0] == both[1], zip(min(cuts), max(cuts), strict=False))
        )

    def _are_known(self, characters: str) -> bool:
        """Return whether no token for unknown characters, which may be of any length, stands among some."""
        return all(self._backend.model.token_to_id(each) is not None for each in characters)

    def _ids(self, word: str) -> list[int]:
        return [token.id for token in self._backend.model.tokenize(word)]
