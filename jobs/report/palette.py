"""Colours of pages and plots: names, to which the page gives one value in light and another in dark.

Plots are drawn in placeholders, which `svg.py` replaces by the names. Categories are Okabe and Ito's, which
colour-blind readers tell apart; what is ordered, as layers, runs through viridis, without its ends that the
page's own colour would swallow.
"""

from dataclasses import dataclass

import matplotlib
from matplotlib.colors import to_hex


@dataclass(frozen=True, kw_only=True)
class Colour:
    """A colour by its name.

    Attributes:
        name: of the CSS variable, without its dashes.
        drawn: what matplotlib draws with, found again in its SVG.
        light: value on a light page.
        dark: value on a dark page.
    """

    name: str
    drawn: str
    light: str
    dark: str

    @property
    def css(self) -> str:
        """The colour as a value in CSS."""
        return f"var(--{self.name})"


def _colours(first: int, named: dict[str, tuple[str, str]]) -> tuple[Colour, ...]:
    """Return colours, drawn in consecutive placeholders that are hardly told from black."""
    return tuple(
        Colour(name=name, drawn=f"#0000{first + place:02x}", light=light, dark=dark)
        for place, (name, (light, dark)) in enumerate(named.items())
    )


# Of the deepest models 24 layers and a lexical branch.
_NUM_ORDERED = 25


def _ordered() -> dict[str, tuple[str, str]]:
    viridis = matplotlib.colormaps["viridis"]
    shares = [place / (_NUM_ORDERED - 1) for place in range(_NUM_ORDERED)]
    return {
        f"order-{place}": (to_hex(viridis(share * 0.75)), to_hex(viridis(0.32 + share * 0.56)))
        for place, share in enumerate(shares)
    }


INK, GRID, FAINT = _colours(
    1,
    {
        "ink": ("#1b1f24", "#e4e7eb"),
        "grid": ("#d9dde2", "#3a4048"),
        "faint": ("#8a929c", "#8a929c"),
    },
)
CATEGORIES = _colours(
    0x10,
    {
        "blue": ("#0072b2", "#4aa3dc"),
        "vermilion": ("#d55e00", "#f0813a"),
        "green": ("#009e73", "#2fbf94"),
        "purple": ("#b3568a", "#d98ab4"),
        "orange": ("#c98a00", "#e69f00"),
        "sky": ("#3d9bd1", "#8ccbf0"),
    },
)
_ORDERED = _colours(0x30, _ordered())
COLOURS = (INK, GRID, FAINT, *CATEGORIES, *_ORDERED)


def category(place: int) -> Colour:
    """Return the colour of one of several things without an order; after six they begin again."""
    return CATEGORIES[place % len(CATEGORIES)]


def in_order(place: int, number: int) -> Colour:
    """Return the colour of one of several things in an order, as layers.

    Args:
        place: from 0.
        number: how many there are.
    """
    return _ORDERED[round(place * (_NUM_ORDERED - 1) / max(number - 1, 1))]
