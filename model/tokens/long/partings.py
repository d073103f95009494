"""Where a tokenizer parts a text for certain: its ids are those of both sides, one after another."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from model.tokens.tokenizer_kinds import added_tokens, has_berts_steps, words

# Beside a blank, letters and digits of ASCII, which no normaliser drops or joins with others.
_LETTER, _LETTERS = "[0-9A-Za-z]", "0Aa"
_BLANKS = " \n\t"
_IDEOGRAPH = "[一-鿿]"
_NOWHERE = "(?!)"


class Partings:
    """Finds where a tokenizer that sees only nearby parts texts for certain.

    Between any two of these places there is a token at least: a letter, a digit or an ideograph.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Ask at which blanks this one parts, and whether between ideographs too.

        Args:
            tokenizer: one of those that `sees_only_nearby` knows.
        """
        blanks = "".join(blank for blank in _BLANKS if _parts_before(tokenizer, blank))
        at = [f"{_LETTER}(?=[{blanks}]{_LETTER})"] if blanks else []
        at += [f"{_IDEOGRAPH}(?={_IDEOGRAPH})"] if _parts_ideographs(tokenizer) else []
        self._pattern = re.compile("|".join(at) or _NOWHERE)

    def beginning(self, text: str, *, most: int, size: int) -> str | None:
        """Return a beginning with more than `most` tokens, None if `size` characters part too seldom."""
        places = self._places(text[:size])
        return text[: places[most]] if len(places) > most else None

    def end(self, text: str, *, most: int, size: int) -> str | None:
        """Return an end instead of a beginning."""
        last = text[-size:]
        places = self._places(last)
        return last[places[-most - 1] :] if len(places) > most else None

    def pieces(self, text: str, *, size: int) -> Iterator[str]:
        """Cut a text into pieces of about `size` characters; one without a parting is longer."""
        first = 0
        while len(text) - first > size:
            found = self._pattern.search(text, first + size)
            if found is None:
                break
            yield text[first : found.end()]
            first = found.end()
        yield text[first:]

    def _places(self, text: str) -> list[int]:
        return [found.end() for found in self._pattern.finditer(text)]


def _parts_before(tokenizer: PreTrainedTokenizerBase, blank: str) -> bool:
    """Return whether the words before and from a blank on are those of both sides."""
    backend = tokenizer.backend_tokenizer
    return all(
        words(backend, first + blank + second) == words(backend, first) + words(backend, blank + second)
        for first in _LETTERS
        for second in _LETTERS
    )


def _parts_ideographs(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether each ideograph is a word by itself, as BERT has it."""
    if not has_berts_steps(tokenizer):
        return False
    normalizer = tokenizer.backend_tokenizer.normalizer
    tokens = unicodedata.normalize("NFKC", "".join(added_tokens(tokenizer)))
    return json.loads(normalizer.__getstate__())["handle_chinese_chars"] and not re.search(_IDEOGRAPH, tokens)
