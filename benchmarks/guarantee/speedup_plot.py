"""The plot of speed-ups that were asked for against those that came of it."""

from collections.abc import Sequence
from io import BytesIO

from matplotlib.figure import Figure

# What asked and found may differ by.
TOLERANCE = 0.05


def speedup_plot(curve: Sequence[tuple[float, float]]) -> bytes:
    """Return a PNG.

    Args:
        curve: pairs of saved compute, asked for and found, on the test rows of the calibration.
    """
    figure = Figure(figsize=(5, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    highest = max([1.5, *(value for pair in curve for value in pair)]) * 1.05
    line = [1.0, highest]
    axes.fill_between(
        line,
        [value * (1 - TOLERANCE) for value in line],
        [value * (1 + TOLERANCE) for value in line],
        color="0.9",
        label=f"within {TOLERANCE:.0%}",
    )
    axes.plot(line, line, color="0.6", linewidth=1)
    if curve:
        axes.plot(*zip(*curve, strict=True), marker="o", label="test rows of the calibration")
    axes.set(
        xlabel="--target-speedup",
        ylabel="saved compute, times full depth",
        xlim=line,
        ylim=line,
        aspect="equal",
    )
    axes.legend(loc="upper left")
    file = BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
