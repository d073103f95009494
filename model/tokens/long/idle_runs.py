"""Runs of characters of which many make no other tokens than fewer do: blanks, for instance."""

from __future__ import annotations

import re
from collections import defaultdict

from transformers import PreTrainedTokenizerBase

from model.tokens.tokenizer_kinds import added_forms, has_berts_steps, words

# What a character does is asked of so many of them, and of one.
_MANY = 40
# Characters at either end of a text that are asked about.
_ASKED = 1 << 16
# As far as a grapheme is looked at as a whole.
_GRAPHEME = 16
# Spaces to Python only.
_SEPARATORS = "\x1c\x1d\x1e\x1f"


class IdleRuns:
    """Shortens runs of blanks, of characters that are dropped, and of letters that are too many for a word.

    These are told by asking: what many of a character between two letters make, against nothing or a space
    there. The tokenizer sees only nearby, so what stands further off makes no difference.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Ask nothing yet.

        Args:
            tokenizer: one of those that `sees_only_nearby` knows.
        """
        # Not the tokenizer, which is not to be held by what is remembered of it.
        self._backend = backend = tokenizer.backend_tokenizer
        self._added = added_forms(tokenizer)
        # WordPiece has a longest word; BERT's steps make words character by character.
        has_longest_word = has_berts_steps(tokenizer) and type(backend.model).__name__ == "WordPiece"
        self._longest_word = backend.model.max_input_chars_per_word if has_longest_word else None
        self._nothing, self._space = words(backend, "aa"), words(backend, "a a")
        self._kept = (self._longest_word or 0) + max(map(len, self._added), default=0) + _GRAPHEME

    def shortened(self, text: str) -> str:
        """Return a text with the same ids, in which no run is long of what stands at either end of `text`."""
        kinds: dict[tuple[str, bool], list[str]] = defaultdict(list)
        for character in sorted(set(text[:_ASKED]) | set(text[-_ASKED:])):
            kind = self._kind(character)
            if kind is not None:
                # A token that takes blanks along takes none but these.
                kinds[kind, character.isspace() and character not in _SEPARATORS].append(character)
        for (kind, _), characters in kinds.items():
            if kind == "letter" and any(set(token) <= set(characters) for token in self._added):
                continue
            of_these = f"[{re.escape(''.join(characters))}]"
            # Looked for only where a run begins: a short one is counted once.
            run = re.compile(f"(?<!{of_these}){of_these}{{{2 * self._kept + 1},}}")
            text = run.sub(self._ends, text)
        return text

    def _ends(self, run: re.Match[str]) -> str:
        text, start, end = run.string, run.start(), run.end()
        return text[start : start + self._kept] + text[end - self._kept : end]

    def _kind(self, character: str) -> str | None:
        """Return how a character is idle, None where it is not."""
        many = words(self._backend, f"a{character * _MANY}a")
        if many == self._nothing:
            return "dropped"
        if many == self._space:
            return "blank"
        is_letter = self._longest_word is not None and len(many) == 1 and len(many[0]) >= _MANY + 2
        return "letter" if is_letter else None
