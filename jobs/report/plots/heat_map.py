"""A table whose cells are the darker the more they hold, as a confusion matrix."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from jobs.report.palette import CATEGORIES
from jobs.report.plot import WIDTH, Plot, finish_plot, new_axes, short_name

# Text is read on it in light and in dark; of a table of many labels most cells are next to empty.
_DARKEST, _PALEST = 0.6, 0.002
# Numbers fit into the cells of so many columns, and names stand straight below so many.
_MOST_NUMBERED, _MOST_STRAIGHT = 8, 4
_MOST_NAMED = 30


def heat_map(
    values: npt.ArrayLike,
    *,
    row_names: Sequence[str],
    column_names: Sequence[str],
    row_label: str,
    column_label: str,
    description: str,
    shown: str = ",.0f",
) -> Plot:
    """Return a heat map.

    Args:
        values: (rows, columns), none below 0; a cell is shaded by its share of its row.
        row_names: (rows,) from above.
        column_names: (columns,).
        row_label: what rows are.
        column_label: what columns are.
        description: what is seen.
        shown: how a number is written into its cell, where there is room.
    """
    cells = np.asarray(values, dtype=float)
    num_rows, num_columns = cells.shape
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1e-300)
    with new_axes(height=min(1.4 + 0.34 * num_rows, WIDTH)) as axes:
        shaded = [(place, share) for place, share in np.ndenumerate(shares) if share >= _PALEST]
        colour = CATEGORIES[0].drawn
        axes.add_collection(
            PatchCollection(
                [Rectangle((column, row), 1, 1) for (row, column), _ in shaded],
                facecolor=[to_rgba(colour, _DARKEST * share) for _, share in shaded],
                linewidth=0,
            )
        )
        if num_columns <= _MOST_NUMBERED:
            for (row, column), value in np.ndenumerate(cells):
                text = format(value, shown)
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=9.5)
        slant = 0 if num_columns <= _MOST_STRAIGHT else 60
        longest = 12 if num_columns <= _MOST_STRAIGHT else 16
        axes.set(xlim=(0, num_columns), ylim=(num_rows, 0), xlabel=column_label, ylabel=row_label)
        axes.set_xticks(
            *_ticks(column_names, longest), rotation=slant, ha="right" if slant else "center",
            rotation_mode="anchor" if slant else "default",
        )  # fmt: skip
        axes.set_yticks(*_ticks(row_names, 16))
        axes.tick_params(length=0)
        axes.grid(visible=False)
        return finish_plot(axes, description)


def _ticks(names: Sequence[str], longest: int) -> tuple[list[float], list[str]]:
    """Return where names stand, and how they are written; of very many only some."""
    step = -(-len(names) // _MOST_NAMED)
    places = range(0, len(names), step)
    return [place + 0.5 for place in places], [short_name(names[place], longest) for place in places]
