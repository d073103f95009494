"""Which calibration rows thresholds are sought with, and which test them."""

import numpy as np
import numpy.typing as npt

# Share of the rows that thresholds are sought with. Chosen by measurement (docs/performance.md): the others
# bound the risk, and are worth more.
SEARCH_SHARE = 1 / 3


def search_rows(is_held_out: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which rows thresholds are sought with, (rows,): held-out ones, and others up to `SEARCH_SHARE`.

    Those others are spread evenly, so they are drawn by hash where the rows stand in that order.

    >>> search_rows(np.array([False] * 6)).tolist()
    [False, False, True, False, False, True]
    >>> search_rows(np.array([True, False, False, True, False, False])).tolist()
    [True, False, False, True, False, False]
    """
    is_search = is_held_out.copy()
    others = np.flatnonzero(~is_held_out)
    missing = max(0, int(len(is_held_out) * SEARCH_SHARE) - int(is_held_out.sum()))
    if missing:
        is_search[others[np.diff(np.arange(len(others) + 1) * missing // len(others)) > 0]] = True
    return is_search
