"""The speed knob made linear: thresholds for a speed-up that was asked for."""

import numpy as np

from model.errors import ParameterError
from model.exits.policy import ALWAYS_EXIT
from model.guarantee.exit_outcomes import ExitOutcomes, Thresholds
from model.guarantee.threshold_search import between, candidate_path

_STEPS = 64


def highest_speed_up(outcomes: ExitOutcomes) -> float:
    """Return the speed-up of leaving after the first layer, whatever its answer."""
    return outcomes.speed_up(_leave_first(outcomes))


def _leave_first(outcomes: ExitOutcomes) -> Thresholds:
    thresholds = np.zeros(outcomes.num_layers - 1, dtype=np.float32)
    thresholds[0] = ALWAYS_EXIT
    return thresholds


def thresholds_for(speed_up: float, search: ExitOutcomes, aim: ExitOutcomes) -> Thresholds:
    """Return thresholds that cost full depth's share 1 / `speed_up`, with as few wrong answers as can be.

    Between two neighbours on the path from safe to fast, thresholds are moved from one to the other.

    Args:
        speed_up: from 1 on; 1 is full depth.
        search: rows to find the path with.
        aim: rows whose cost is to be met.

    Returns:
        (num_layers - 1,) float32.

    Raises:
        ParameterError: if `speed_up` is below 1, or above what the first exit gives.
    """
    if not speed_up >= 1:
        raise ParameterError(f"`target_speedup` {speed_up:g} is below 1, which is full depth")
    highest = highest_speed_up(aim)
    if speed_up > highest:
        raise ParameterError(
            f"`target_speedup` {speed_up:g} is out of reach: leaving after the first layer always gives "
            f"{highest:.2f}"
        )
    slower = np.zeros(search.num_layers - 1, dtype=np.float32)
    if speed_up == 1:
        return slower
    for faster in (*(candidate.thresholds for candidate in candidate_path(search)), _leave_first(search)):
        if aim.speed_up(faster) >= speed_up:
            break
        slower = faster
    found = between(search, slower, faster, np.linspace(0, 1, _STEPS + 1))
    missed_by = [abs(aim.speed_up(thresholds) / speed_up - 1) for thresholds in found]
    return found[int(np.argmin(missed_by))]
