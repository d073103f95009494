"""The reliability diagram: how often those that say so sure are right (Guo et al. 2017, figure 1)."""

from collections.abc import Mapping

from jobs.report.palette import FAINT, category
from jobs.report.plot import Plot, add_legend, finish_plot, in_percent, new_axes, short_name
from jobs.report.plots.agreement_bins import AgreementBins

# Square points, of the marker of a bin that holds all rows, and of the smallest.
_LARGEST, _SMALLEST = 260.0, 10.0
_MARKERS = ("o", "s", "^", "D", "v", "P")


def reliability(
    drawn: Mapping[str, AgreementBins],
    *,
    x_label: str = "confidence",
    y_label: str = "agreement",
    description: str,
    lowest: float = 0.0,
) -> Plot:
    """Return a reliability diagram: on the diagonal who is as sure as right; markers grow with rows.

    Args:
        drawn: by its name what is compared, as before and after a temperature.
        x_label: of how sure.
        y_label: of how often right.
        description: what is seen.
        lowest: where the axis of confidence begins.
    """
    with new_axes() as axes:
        axes.plot([0, 1], [0, 1], color=FAINT.drawn, linewidth=1, linestyle="--")
        for place, (name, bins) in enumerate(drawn.items()):
            colour, marker = category(place).drawn, _MARKERS[place % len(_MARKERS)]
            sizes = _SMALLEST + _LARGEST * bins.num_rows / max(bins.num_rows.sum(), 1)
            axes.scatter(
                bins.mean, bins.agreement, s=sizes, marker=marker, color=colour, alpha=0.4, linewidth=0
            )
            axes.plot(
                bins.mean, bins.agreement, color=colour, marker=marker, markersize=3, label=short_name(name)
            )
        axes.set(xlabel=x_label, ylabel=y_label, xlim=(lowest, 1.02), ylim=(min(lowest, _least(drawn)), 1.04))
        in_percent(axes, of=("x", "y"))
        add_legend(axes)
        return finish_plot(axes, description)


def _least(drawn: Mapping[str, AgreementBins]) -> float:
    """Return the lowest share of right answers, and a little less, so that no marker is cut."""
    lowest = (float(bins.agreement.min()) for bins in drawn.values() if len(bins.agreement))
    return min(lowest, default=0.0) - 0.05
