"""The special tokens that a tokenizer puts around texts."""

from __future__ import annotations

from dataclasses import dataclass

Segments = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The special tokens around a text, or around the texts of a pair.

    Attributes:
        specials: ids before the first text, and after each.
        special_types: the token types of these.
        text_types: the token type of each text.
    """

    specials: tuple[Segments, ...]
    special_types: tuple[Segments, ...]
    text_types: Segments

    @property
    def num_specials(self) -> int:
        """How many tokens they are."""
        return sum(map(len, self.specials))

    @classmethod
    def around(
        cls, body: list[int], ids: list[int], types: list[int] | None, *, num_texts: int
    ) -> Frame | None:
        """Return what stands around some texts, None where they cannot be told from it.

        Args:
            body: the ids of each of the texts.
            ids: of all of them with what is around.
            types: token types of `ids`; None for a tokenizer that makes none.
            num_texts: one, or two for a pair.
        """
        types = types or [0] * len(ids)
        specials: list[Segments] = []
        special_types: list[Segments] = []
        text_types = []
        place = 0
        for _ in range(num_texts):
            start = next((at for at in range(place, len(ids)) if ids[at : at + len(body)] == body), None)
            if start is None or not body:
                return None
            specials.append(tuple(ids[place:start]))
            special_types.append(tuple(types[place:start]))
            text_types.append(types[start])
            place = start + len(body)
        specials.append(tuple(ids[place:]))
        special_types.append(tuple(types[place:]))
        return cls(specials=tuple(specials), special_types=tuple(special_types), text_types=tuple(text_types))
