"""The speed knob made linear: thresholds for the saved compute that was asked for."""

from functools import cached_property

import numpy as np

from model.errors import ParameterError
from model.exits.policy import ALWAYS_EXIT
from model.guarantee.exit_outcomes import ExitOutcomes, Thresholds
from model.guarantee.threshold_search import SearchEffort, candidate_path, interpolate

_STEPS = 64
# Halfway between thresholds of paths with other exits closed, there is nothing good.
_ONE_PATH = SearchEffort(num_closed=0)


def highest_saved_compute(outcomes: ExitOutcomes) -> float:
    """Return the saved compute of leaving at the first exit, whatever its answer."""
    return outcomes.saved_compute(_leave_at_first_exit(outcomes))


def _leave_at_first_exit(outcomes: ExitOutcomes) -> Thresholds:
    thresholds = np.zeros(outcomes.num_exits - 1, dtype=np.float32)
    thresholds[0] = ALWAYS_EXIT
    return thresholds


class SpeedupPath:
    """Thresholds from full depth to leaving at the first exit, found once, for any saved compute between.

    Args:
        search: rows to find the path with; at least one.
    """

    def __init__(self, search: ExitOutcomes) -> None:
        self._search = search
        self._full_depth = np.zeros(search.num_exits - 1, dtype=np.float32)

    @cached_property
    def _path(self) -> list[Thresholds]:
        # Not before there is something to look for: it takes a while.
        found = [candidate.thresholds for candidate in candidate_path(self._search, effort=_ONE_PATH)]
        return [*found, _leave_at_first_exit(self._search)]

    def thresholds_for(self, target_speedup: float, target_rows: ExitOutcomes) -> Thresholds:
        """Return the thresholds of a saved compute, with as few disagreements as can be.

        Between two neighbours on the path, thresholds are moved from one to the other.

        Args:
            target_speedup: saved compute to aim at, from 1 on; 1 is full depth.
            target_rows: rows whose cost is to be met.

        Returns:
            (num_exits - 1,) float32.

        Raises:
            ParameterError: if `target_speedup` is below 1, or above what the first exit gives.
        """
        if not target_speedup >= 1:
            raise ParameterError(f"`target_speedup` {target_speedup:g} is below 1, which is full depth")
        highest = highest_saved_compute(target_rows)
        if target_speedup > highest:
            raise ParameterError(
                f"`target_speedup` {target_speedup:g} is out of reach: leaving at the first exit always "
                f"gives {highest:.2f}"
            )
        slower = self._full_depth
        if target_speedup == 1:
            return slower
        for faster in self._path:
            if target_rows.saved_compute(faster) >= target_speedup:
                break
            slower = faster
        moved = interpolate(self._search, slower, faster, np.linspace(0, 1, _STEPS + 1))
        missed_by = [abs(target_rows.saved_compute(each) / target_speedup - 1) for each in moved]
        return moved[int(np.argmin(missed_by))]
