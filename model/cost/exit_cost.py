"""What texts cost that leave at exits, in whatever unit."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Cost = TypeVar("Cost", np.int64, np.float64)


def cost_of_exits(
    exit_cost: npt.NDArray[Cost],
    branch_cost: npt.NDArray[Cost],
    is_run: Sequence[bool] | npt.NDArray[np.bool_],
    exits: npt.NDArray[np.integer],
) -> npt.NDArray[Cost]:
    """Return what each text costs up to the exit that it takes, its branches counted, (rows,).

    Args:
        exit_cost: (rows, num_exits) of a text that leaves there, no branch being run.
        branch_cost: (rows, num_exits - 1) of running each branch; the last exit has none.
        is_run: (num_exits - 1,) which of them are run.
        exits: (rows,) places among the exits, from 0.
    """
    rows = np.arange(len(exits))
    branches = np.cumsum(branch_cost * np.asarray(is_run), axis=1)
    cost: npt.NDArray[Cost] = exit_cost[rows, exits] + branches[rows, np.minimum(exits, len(is_run) - 1)]
    return cost
