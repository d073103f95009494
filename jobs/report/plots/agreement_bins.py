"""How often rows agree, by a number from 0 to 1 that is known of each: how sure an exit is, or how unsure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_BINS = 10


@dataclass(frozen=True, kw_only=True)
class AgreementBins:
    """Rows in equal bins of a number; bins without a row are left out.

    Attributes:
        mean: (bins,) of the number, in each bin.
        agreement: (bins,) share of its rows that agree.
        num_rows: (bins,) int64.
        places: (bins,) int64, which of all bins each is, from 0.
    """

    mean: npt.NDArray[np.float64]
    agreement: npt.NDArray[np.float64]
    num_rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, numbers: npt.ArrayLike, agrees: npt.ArrayLike, *, num_bins: int = NUM_BINS
    ) -> "AgreementBins":
        """Return rows in bins.

        Args:
            numbers: (rows,) in [0, 1]; a row of NaN is left out.
            agrees: (rows,) bool.
            num_bins: equal ones from 0 to 1.
        """
        of_rows, right = np.asarray(numbers, dtype=np.float64), np.asarray(agrees, dtype=np.float64)
        known = ~np.isnan(of_rows)
        of_rows, right = of_rows[known], right[known]
        bins = np.clip((of_rows * num_bins).astype(np.int64), 0, num_bins - 1)
        num_rows = np.bincount(bins, minlength=num_bins)
        places = np.flatnonzero(num_rows)
        sums = (np.bincount(bins, weights=values, minlength=num_bins) for values in (of_rows, right))
        mean, agreement = (each[places] / num_rows[places] for each in sums)
        return cls(mean=mean, agreement=agreement, num_rows=num_rows[places], places=places)

    def at_least(self, num_rows: int) -> "AgreementBins":
        """Return the bins that hold so many rows: a share of fewer is noise."""
        full = self.num_rows >= num_rows
        return AgreementBins(
            mean=self.mean[full],
            agreement=self.agreement[full],
            num_rows=self.num_rows[full],
            places=self.places[full],
        )
