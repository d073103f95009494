"""Agreement against rows per second: what the plots of several benchmarks have in common."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

# Okabe and Ito's colours, which differ for the colour-blind too; markers differ besides.
BLUE, SKY_BLUE, GREEN, VERMILION, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#D55E00", "#CC79A7"

Style = Mapping[str, str]


def plot(
    panels: Sequence[tuple[str, pd.DataFrame]],
    path: Path,
    *,
    styles: Mapping[str, Style],
    curves: Sequence[str],
    columns: int,
) -> None:
    """Draw panels, row by row.

    Args:
        panels: titles, and points with `series`, `system`, `rows_per_second`, `agreement`, and `mark`, what
            is written at the points of the first curve.
        path: of the PNG file.
        styles: of matplotlib, by series, in the order of the legend; `label` is what the series is called.
        curves: the series whose points are joined by lines.
        columns: panels in a row.
    """
    mpl.use("Agg")
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(7.5 * columns, 5.2 * rows), squeeze=False, layout="constrained"
    )
    for panel, (title, points) in zip(axes.flat, panels, strict=True):
        draw(panel, points, styles, curves)
        panel.set_title(title, loc="left", fontweight="bold")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * columns, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw(panel: Axes, group: pd.DataFrame, styles: Mapping[str, Style], curves: Sequence[str]) -> None:
    for series, style in styles.items():
        points = group[group["series"] == series].sort_values("rows_per_second")
        line = "-" if series in curves else "none"
        panel.plot(points["rows_per_second"], points["agreement"] * 100, linestyle=line, zorder=3, **style)
    lowest = float(group["agreement"].min()) * 100
    height = max(100 - lowest, 1.0)
    # Room above for the names of the many that agree fully.
    bottom = lowest - 0.2 * height
    panel.set_ylim(bottom, 100 + 0.65 * height)
    panel.set_yticks([tick for tick in panel.get_yticks() if bottom <= tick <= 100])
    panel.set_xscale("log")
    panel.set_xlim(group["rows_per_second"].min() / 1.5, group["rows_per_second"].max() * 1.5)
    panel.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    panel.grid(alpha=0.3)
    panel.set_xlabel("rows/s")
    panel.set_ylabel("same answer as the teacher at full depth, %")
    group = group.assign(color=group["series"].map(lambda series: styles[series]["color"]))
    others = group[~group["series"].isin(curves)]
    is_top = others["agreement"] * 100 > 100 - 0.2 * height
    name_above(panel, others[is_top].sort_values("rows_per_second"))
    name_beside(panel, others[~is_top])
    mark(panel, group[group["series"] == curves[0]].sort_values("rows_per_second"))


def name_above(panel: Axes, points: pd.DataFrame) -> None:
    """Write names above all points, slanted, side by side, each with a line to its point."""
    left, right = np.log(panel.get_xlim())
    places = spread_out(np.log(points["rows_per_second"].to_numpy()), gap=(right - left) / 17)
    for (_, point), place in zip(points.iterrows(), places, strict=True):
        panel.annotate(
            point["system"],
            xy=(point["rows_per_second"], point["agreement"] * 100),
            xytext=(np.exp(place), 100 + 0.22 * (panel.get_ylim()[1] - 100)),
            rotation=40,
            rotation_mode="anchor",
            fontsize=8.5,
            color=point["color"],
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3},
        )


def name_beside(panel: Axes, points: pd.DataFrame) -> None:
    for _, point in points.iterrows():
        name = point["system"].replace(", ", ",\n")
        _write(panel, point, name, offset=(0, -6), ha="center", va="top")


def mark(panel: Axes, points: pd.DataFrame) -> None:
    """Write what the points of the curve are, those left out that would stand on the one before."""
    left, right = np.log(panel.get_xlim())
    last = -np.inf
    for _, point in points.iterrows():
        place = np.log(point["rows_per_second"])
        if place - last > (right - left) / 20:
            _write(panel, point, point["mark"], offset=(-4, -5), ha="right", va="top")
            last = place


def _write(panel: Axes, point: pd.Series, text: str, *, offset: tuple[int, int], ha: str, va: str) -> None:
    panel.annotate(
        text,
        xy=(point["rows_per_second"], point["agreement"] * 100),
        xytext=offset,
        textcoords="offset points",
        ha=ha,
        va=va,
        fontsize=8.5,
        color=point["color"],
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        zorder=4,
    )


def spread_out(wanted: np.ndarray, *, gap: float) -> np.ndarray:
    """Return places near the wanted ones, ascending, at least `gap` apart.

    Neighbours that are too close form a block, which is centred on what its members wanted.
    """
    blocks: list[list[float]] = []

    def places(block: list[float]) -> np.ndarray:
        offsets = gap * (np.arange(len(block)) - (len(block) - 1) / 2)
        return np.mean(block) + offsets

    for value in wanted:
        blocks.append([float(value)])
        while len(blocks) > 1 and places(blocks[-1])[0] - places(blocks[-2])[-1] < gap:
            last = blocks.pop()
            blocks[-1] += last
    return np.concatenate([places(block) for block in blocks])
