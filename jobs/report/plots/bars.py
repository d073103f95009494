"""Bars: one group a name, as rows and cost by exit."""

from collections.abc import Mapping, Sequence

import numpy as np

from jobs.report.palette import category
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

_GROUP_WIDTH = 0.8


def bars(
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    x_label: str = "",
    y_label: str = "",
    description: str,
    is_share: bool = False,
    is_horizontal: bool = False,
) -> Plot:
    """Return bars.

    Args:
        names: (groups,) in their order.
        series: by its name (groups,) values; several stand beside each other.
        x_label: of the axis of names.
        y_label: of the axis of values.
        description: what is seen.
        is_share: whether values are shares, written as percentages.
        is_horizontal: whether bars lie, which leaves room for longer names.
    """
    places = np.arange(len(names))
    width = _GROUP_WIDTH / max(len(series), 1)
    with new_axes(height=1.2 + 0.28 * len(names) * len(series) if is_horizontal else HEIGHT) as axes:
        draw = axes.barh if is_horizontal else axes.bar
        for place, (name, values) in enumerate(series.items()):
            where = places + (place - (len(series) - 1) / 2) * width
            label = short_name(name) if len(series) > 1 else None
            draw(where, values, width, color=category(place).drawn, label=label)
        name_groups(axes, list(map(short_name, names)), x_label=x_label, y_label=y_label, lies=is_horizontal)
        if is_share:
            in_percent(axes, of=("x" if is_horizontal else "y",))
        add_legend(axes)
        return finish_plot(axes, description)
