"""Histograms of several things over the same bins, on each other or overlaid."""

from collections.abc import Mapping, Sequence

import numpy as np

from jobs.report.palette import category, in_order
from jobs.report.plot import Plot, add_legend, finish_plot, in_percent, mark_places, new_axes, short_name


def histograms(
    edges: Sequence[float],
    counts: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str = "rows",
    description: str,
    is_stacked: bool = False,
    is_ordered: bool = False,
    is_share: bool = False,
    marks: Mapping[str, float] | None = None,
) -> Plot:
    """Return histograms.

    Args:
        edges: (bins + 1,) rising.
        counts: by its name (bins,) how many of a thing lie in each bin, or their share.
        x_label: of what is binned.
        y_label: of what is counted.
        description: what is seen.
        is_stacked: whether they stand on each other; else they are outlines, over each other.
        is_ordered: whether their order means something, as that of layers.
        is_share: whether counts are shares, written as percentages.
        marks: by name, where a dashed line stands, as a threshold.
    """
    below = np.zeros(len(edges) - 1)
    with new_axes() as axes:
        for place, (name, of_bins) in enumerate(counts.items()):
            colour = (in_order(place, len(counts)) if is_ordered else category(place)).drawn
            values = np.asarray(of_bins, dtype=float)
            label = short_name(name) if len(counts) > 1 else None
            if is_stacked or len(counts) == 1:
                axes.stairs(below + values, edges, baseline=below, fill=True, color=colour, label=label)
                below = below + values
            else:
                axes.stairs(values, edges, color=colour, linewidth=1.8, label=label)
                axes.stairs(values, edges, fill=True, color=colour, alpha=0.12)
        mark_places(axes, marks or {})
        add_legend(axes)
        axes.set(xlabel=x_label, ylabel=y_label, xlim=(edges[0], edges[-1]))
        axes.set_ylim(bottom=0)
        if is_share:
            in_percent(axes)
        return finish_plot(axes, description)
