"""Points with intervals around them, as shares of few rows, or the spread of a quantity."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobs.report.palette import INK, category
from jobs.report.plot import (
    HEIGHT,
    Plot,
    add_legend,
    finish_plot,
    in_percent,
    name_groups,
    new_axes,
    short_name,
)

# As many names stand side by side without being turned.
_MOST_UPRIGHT = 60


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A point and what is around it.

    Attributes:
        name: of the group.
        value: of the point.
        low: lower end.
        high: upper end.
        mark: another value that is shown beside it, as a threshold; None for none.
    """

    name: str
    value: float
    low: float
    high: float
    mark: float | None = None


def intervals(
    drawn: Sequence[Interval],
    *,
    x_label: str = "",
    y_label: str,
    description: str,
    is_share: bool = False,
    limit: float | None = None,
    limit_name: str = "",
    mark_name: str = "",
) -> Plot:
    """Return points with intervals; they lie below each other where their names are long.

    Args:
        drawn: in their order.
        x_label: what groups are.
        y_label: of the values.
        description: what is seen.
        is_share: whether values are shares, written as percentages.
        limit: a value across all groups, as what was promised; None for none.
        limit_name: its name in the legend.
        mark_name: the name of the intervals' own marks.
    """
    names = [short_name(each.name) for each in drawn]
    lies = sum(map(len, names)) > _MOST_UPRIGHT
    places = list(range(len(drawn)))
    marked = [place for place, each in enumerate(drawn) if each.mark is not None]
    with new_axes(height=1.3 + 0.27 * len(drawn) if lies else HEIGHT) as axes:
        arms = [[each.value - each.low for each in drawn], [each.high - each.value for each in drawn]]
        x, y = _turned(places, [each.value for each in drawn], lies=lies)
        axes.errorbar(
            x, y, xerr=arms if lies else None, yerr=None if lies else arms, fmt="o",
            color=category(0).drawn, capsize=3, markersize=5,
        )  # fmt: skip
        marks = _turned(marked, [drawn[place].mark for place in marked], lies=lies)
        axes.plot(
            *marks, linestyle="none", marker="|" if lies else "_", color=category(1).drawn, markersize=11,
            markeredgewidth=2, label=mark_name or None,
        )  # fmt: skip
        if limit is not None:
            draw = axes.axvline if lies else axes.axhline
            draw(limit, color=INK.drawn, linewidth=1.2, linestyle="--", label=limit_name or None)
        name_groups(axes, names, x_label=x_label, y_label=y_label, lies=lies)
        if is_share:
            in_percent(axes, of=("x" if lies else "y",))
        add_legend(axes)
        return finish_plot(axes, description)


def _turned(
    places: Sequence[int], values: Sequence[Any], *, lies: bool
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the coordinates of values at places."""
    return (values, places) if lies else (places, values)
