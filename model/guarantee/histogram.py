"""Counts in bins whose edges are known: what can be added up row by row, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many values lie between two edges each, the lower one included.

    Attributes:
        edges: (bins - 1,) ascending; the first bin is below all of them. Of values that are places already,
            0, 1, ..., bins - 1, these are 1, ..., bins - 1.
        counts: (bins,).
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: Values, edges: Sequence[float]) -> Histogram:
        """Count (n,) values."""
        kept = tuple(map(float, edges))
        counts = np.bincount(bins_of(values, kept), minlength=len(kept) + 1)
        return cls(edges=kept, counts=tuple(counts.tolist()))

    @classmethod
    def of_places(cls, places: Values, num_places: int) -> Histogram:
        """Count (n,) values that are places, 0 to `num_places` - 1."""
        return cls.of(places, range(1, num_places))

    @property
    def total(self) -> int:
        """All values."""
        return sum(self.counts)


def bins_of(values: Values, edges: Sequence[float]) -> npt.NDArray[np.int64]:
    """Return which bin each of (n,) values falls into, (n,).

    >>> bins_of(np.array([0.0, 1.0, 1.5, 9.0]), [1.0, 2.0]).tolist()
    [0, 1, 1, 2]
    """
    found: npt.NDArray[np.int64] = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="right")
    return found


def quantile_edges(values: Values, num_bins: int) -> tuple[float, ...]:
    """Return edges between which about as many of (n,) values lie each; fewer bins where values are equal.

    >>> quantile_edges(np.arange(100), 4)
    (25.0, 50.0, 75.0)
    >>> quantile_edges(np.zeros(100), 4), quantile_edges(np.zeros(0), 4)
    ((), ())
    """
    if not len(values):
        return ()
    # Values that occur, so that one which many share is an edge, and not beside one by rounding.
    at = np.quantile(values, np.arange(1, num_bins) / num_bins, method="higher")
    return tuple(map(float, np.unique(at[at > np.min(values)])))
