"""The reliability diagram: how often those that say so sure are right (Guo et al. 2017, figure 1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.report.palette import FAINT, category
from jobs.report.plot import Plot, add_legend, finish_plot, in_percent, new_axes, short_name

_BINS = 10
# Points, of the marker of a bin that holds all rows, and of the smallest.
_LARGEST, _SMALLEST = 130.0, 8.0


@dataclass(frozen=True, kw_only=True)
class ReliabilityBins:
    """Rows by how sure an exit says it is; bins without a row are left out.

    Attributes:
        confidence: (bins,) the mean of a bin.
        agreement: (bins,) share of its rows that are right.
        num_rows: (bins,) int64.
    """

    confidence: npt.NDArray[np.float64]
    agreement: npt.NDArray[np.float64]
    num_rows: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, confidence: npt.ArrayLike, is_right: npt.ArrayLike, *, num_bins: int = _BINS
    ) -> "ReliabilityBins":
        """Return rows in equal bins of confidence.

        Args:
            confidence: (rows,) in [0, 1].
            is_right: (rows,) bool.
            num_bins: from 0 to 1.
        """
        sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(is_right, dtype=np.float64)
        bins = np.clip((sure * num_bins).astype(np.int64), 0, num_bins - 1)
        num_rows = np.bincount(bins, minlength=num_bins)
        filled = num_rows > 0
        means = [np.bincount(bins, weights=values, minlength=num_bins) for values in (sure, right)]
        return cls(
            confidence=means[0][filled] / num_rows[filled],
            agreement=means[1][filled] / num_rows[filled],
            num_rows=num_rows[filled],
        )


def reliability(
    drawn: Mapping[str, ReliabilityBins],
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
            colour = category(place).drawn
            share = bins.num_rows / max(bins.num_rows.sum(), 1)
            axes.plot(bins.confidence, bins.agreement, color=colour, marker=_marker(place), markersize=3,
                      label=short_name(name))  # fmt: skip
            sizes = _SMALLEST + _LARGEST * share
            axes.scatter(bins.confidence, bins.agreement, s=sizes, color=colour, alpha=0.35, linewidth=0)
        axes.set(xlabel=x_label, ylabel=y_label, xlim=(lowest, 1.02), ylim=(min(lowest, _least(drawn)), 1.04))
        in_percent(axes, of=("x", "y"))
        add_legend(axes)
        return finish_plot(axes, description)


def _marker(place: int) -> str:
    markers: Sequence[str] = ("o", "s", "^", "D", "v", "P")
    return markers[place % len(markers)]


def _least(drawn: Mapping[str, ReliabilityBins]) -> float:
    """Return the lowest share of right answers, and a little less, so that no marker is cut."""
    return min(
        (float(bins.agreement.min()) - 0.05 for bins in drawn.values() if len(bins.agreement)), default=0
    )
