"""A plot: drawn by matplotlib in the page's style, small enough to be read on a phone."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from jobs.report.palette import GRID, INK
from jobs.report.svg import inline_svg
from model.messages import printable

# Inches. A phone is 360 pixels wide, on which a point is then about one of them.
WIDTH, HEIGHT = 4.8, 3.1
_LONGEST_NAME = 22
# That many letters fit beside each other.
_LINE = 46
# By the ratio of an axis' ends, which numbers of a decade are written.
_LOG_STEPS: tuple[tuple[float, tuple[float, ...]], ...] = ((10, (1, 2, 3, 4, 6, 8)), (1000, (1, 2, 5)))
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    # Else ids are drawn by lot.
    "svg.hashsalt": "fastbert-jobs",
    "text.parse_math": False,
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.2,
    "text.color": INK.drawn,
    "axes.edgecolor": INK.drawn,
    "axes.labelcolor": INK.drawn,
    "xtick.color": INK.drawn,
    "ytick.color": INK.drawn,
    "hatch.color": INK.drawn,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID.drawn,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot that a page may hold.

    Attributes:
        drawing: matplotlib's SVG, in placeholders of `palette.py`.
        description: what it shows, for who does not see it.
    """

    drawing: bytes
    description: str

    def svg(self, name: str) -> Markup:
        """Return it for a page.

        Args:
            name: of letters, digits and dashes, of this plot alone on the page.
        """
        return inline_svg(self.drawing, name, self.description)


@contextmanager
def _styled() -> Iterator[None]:
    """Have matplotlib draw as pages want it, whatever the user has set."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update(_STYLE)
        yield


@contextmanager
def new_axes(*, width: float = WIDTH, height: float = HEIGHT) -> Iterator[Axes]:
    """Yield axes to draw on, and to make a plot of, while the context lasts.

    Args:
        width: inches.
        height: inches.
    """
    with _styled():
        yield Figure(figsize=(width, height), layout="constrained").add_subplot()


def finish_plot(axes: Axes, description: str) -> Plot:
    """Return what was drawn on axes from `new_axes`; equal plots are equal bytes."""
    file = BytesIO()
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_text(printable(label.get_text()))
    figure = axes.get_figure(root=True)
    assert figure is not None
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():
        # Of letters that matplotlib's font lacks it knows no width; the reader's browser has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, format="svg", metadata=nothing)
    return Plot(drawing=file.getvalue(), description=description)


def short_name(name: str, longest: int = _LONGEST_NAME) -> str:
    """Return a name for a plot: printable, and cut where it is long.

    >>> short_name("a" * 30, 8)
    'aaaaaaa…'
    """
    shown = printable(name)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def add_legend(axes: Axes, *, most: int = 7) -> None:
    """Name what was drawn with a label, above the axes.

    Args:
        axes: whose.
        most: of more things that are in an order only so many are named, the first and the last among them.
    """
    handles, names = axes.get_legend_handles_labels()
    if not handles:
        return
    if len(handles) > most:
        places = sorted({round(place * (len(handles) - 1) / (most - 1)) for place in range(most)})
        handles, names = [handles[place] for place in places], [names[place] for place in places]
    columns = max(1, min(len(names), _LINE // (max(map(len, names)) + 5)))
    axes.figure.legend(handles, names, loc="outside upper center", ncols=columns)


def in_percent(axes: Axes, *, of: Sequence[str] = ("y",)) -> None:
    """Write shares from 0 to 1 on some axes, "x" and "y", as percentages."""
    for name in of:
        axis = axes.yaxis if name == "y" else axes.xaxis
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.4g}%"))


def in_ratios(axes: Axes) -> None:
    """Have equal vertical distances be equal ratios, and write the values in full."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    # The smaller the range, the more of its numbers are written.
    within = next((steps for ratio, steps in _LOG_STEPS if high < low * ratio), (1,))
    axes.yaxis.set_major_locator(LogLocator(subs=within))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def name_groups(axes: Axes, names: Sequence[str], *, x_label: str, y_label: str, lies: bool) -> None:
    """Name what stands side by side at 0, 1, ..., or lies below each other.

    Args:
        axes: whose.
        names: (groups,) short ones.
        x_label: what groups are.
        y_label: what values are.
        lies: whether groups lie below each other.
    """
    places = list(range(len(names)))
    ends = (-0.6, max(len(names), 1) - 0.4)
    axes.grid(visible=False, axis="y" if lies else "x")
    if lies:
        axes.set_yticks(places, names)
        axes.set(xlabel=y_label, ylabel=x_label, ylim=ends[::-1])
    else:
        axes.set_xticks(places, names)
        axes.set(xlabel=x_label, ylabel=y_label, xlim=ends)


def mark_places(axes: Axes, marks: Mapping[str, float]) -> None:
    """Draw dashed lines at places on the horizontal axis, by their names."""
    for name, where in marks.items():
        axes.axvline(where, color=INK.drawn, linewidth=1.2, linestyle=":", label=short_name(name))
