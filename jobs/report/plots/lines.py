"""Lines, as one a layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.report.palette import FAINT, category, in_order
from jobs.report.plot import (
    Plot,
    add_legend,
    finish_plot,
    in_percent,
    in_ratios,
    mark_places,
    new_axes,
    short_name,
)

# More points need no markers to be seen as such.
_MOST_MARKED = 30


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a plot.

    Attributes:
        name: in the legend.
        x: (points,).
        y: (points,); a NaN leaves a gap.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]


def lines(
    drawn: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    description: str,
    is_ordered: bool = False,
    is_y_share: bool = False,
    is_y_log: bool = False,
    diagonal: bool = False,
    marks: Mapping[str, float] | None = None,
) -> Plot:
    """Return lines.

    Args:
        drawn: what is drawn.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        description: what is seen.
        is_ordered: whether their order means something, as that of layers; their colours then run.
        is_y_share: whether values are shares, written as percentages.
        is_y_log: whether equal distances are equal ratios; all values are above 0 then.
        diagonal: whether the line of equal values is drawn in, too.
        marks: by name, where on the horizontal axis a dashed line stands, as a threshold.
    """
    with new_axes() as axes:
        if diagonal:
            axes.axline((0, 0), slope=1, color=FAINT.drawn, linewidth=1, linestyle="--")
        for place, line in enumerate(drawn):
            colour = in_order(place, len(drawn)) if is_ordered else category(place)
            marker = "o" if len(line.x) <= _MOST_MARKED else None
            axes.plot(line.x, line.y, color=colour.drawn, marker=marker, label=short_name(line.name))
        mark_places(axes, marks or {})
        if len(drawn) + len(marks or {}) > 1:
            add_legend(axes)
        if is_y_log:
            in_ratios(axes)
        axes.set(xlabel=x_label, ylabel=y_label)
        in_percent(axes, of=["y"] if is_y_share else [])
        return finish_plot(axes, description)
