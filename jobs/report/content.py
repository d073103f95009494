"""What a page is made of. All text is shown as text, whatever is in it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from jobs.report.plot import Plot


class Verdict(StrEnum):
    """How something stands."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


# Seen where colours are not.
ICONS = {Verdict.GOOD: "✓", Verdict.BAD: "✗", Verdict.UNKNOWN: "?"}


@dataclass(frozen=True, kw_only=True)
class Banner:
    """A verdict in one sentence.

    Attributes:
        verdict: which colour and icon.
        word: what it is in a word or two, as "holds".
        sentence: the whole of it.
        details: what else is to be said, a sentence each.
    """

    macro: ClassVar[str] = "banner"
    verdict: Verdict
    word: str
    sentence: str
    details: tuple[str, ...] = ()

    @property
    def icon(self) -> str:
        """The verdict for who sees no colours."""
        return ICONS[self.verdict]


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """A number that is to be seen first.

    Attributes:
        value: as it is written.
        name: of what.
        note: in smaller letters, as an interval.
    """

    value: str
    name: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class KeyFigures:
    """Numbers side by side."""

    macro: ClassVar[str] = "key_figures"
    figures: tuple[KeyFigure, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; a wide one is scrolled in its own box.

    Attributes:
        columns: their heads.
        rows: cells, which come formatted.
        caption: above it; empty for none.
        text_columns: which columns, from 0, hold text, to the left; the others are numbers, to the right.
        is_long: whether its text runs over several lines, and wants room.
    """

    macro: ClassVar[str] = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    text_columns: tuple[int, ...] = (0,)
    is_long: bool = False


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What was decided, by name."""

    macro: ClassVar[str] = "settings"
    values: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot and what is said below it."""

    plot: Plot
    caption: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Plots, side by side where there is room."""

    macro: ClassVar[str] = "figures"
    figures: tuple[Figure, ...]


@dataclass(frozen=True, kw_only=True)
class Note:
    """A paragraph.

    Attributes:
        text: of it.
        is_warning: whether it is to be seen.
    """

    macro: ClassVar[str] = "note"
    text: str
    is_warning: bool = False


Block = Banner | KeyFigures | Table | Settings | Figures | Note


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page, with a line in its table of contents.

    Attributes:
        title: of it.
        blocks: in their order.
    """

    title: str
    blocks: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        """What links go to.

        >>> Section(title="Exits, by layer", blocks=()).anchor
        'exits-by-layer'
        """
        return re.sub("[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page.

    Attributes:
        title: of it.
        lead: of what it is, in a sentence.
        top: what comes before the table of contents, as a banner.
        sections: the rest; no two have one title.
        footer: what else is said of how it was made; empty for nothing.
    """

    title: str
    lead: str = ""
    top: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = field(default=())
    footer: str = ""


def figures_of(figures: Iterable[Figure | None]) -> tuple[Block, ...]:
    """Return the figures that there are, as one block; none for none."""
    there = tuple(figure for figure in figures if figure is not None)
    return (Figures(figures=there),) if there else ()
