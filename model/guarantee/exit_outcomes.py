"""What every exit would have answered to some rows, and what getting there costs: any policy can be tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from model.cost.exit_cost import cost_of_exits

Thresholds = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Which rows are called something, as a label.

    Attributes:
        by_exit: (rows, num_exits) bool, whether an exit calls a row so.
        by_teacher: (rows,) bool, whether the teacher does.
    """

    by_exit: npt.NDArray[np.bool_]
    by_teacher: npt.NDArray[np.bool_]

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Calls":
        """Return some of the rows."""
        return Calls(by_exit=self.by_exit[rows], by_teacher=self.by_teacher[rows])

    def at(self, exits: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return whether each row is called so where it leaves, (rows,), from `exits_taken`."""
        called: npt.NDArray[np.bool_] = self.by_exit[np.arange(len(exits)), exits]
        return called


@dataclass(frozen=True, kw_only=True)
class ExitOutcomes:
    """Outcomes of all exits on some rows.

    Exits are told by their places, from 0: the lexical branch where there is one, and then the layers.

    Attributes:
        uncertainty: (rows, num_exits - 1) float32, what a policy's thresholds are held against, the length of
            the texts counted.
        disagrees: (rows, num_exits) bool, whether an exit's answer is not the teacher's; of the last layer it
            may be so by rounding.
        exit_cost: (rows, num_exits) float64, of a row that leaves there, branches not counted; any unit.
        branch_cost: (rows, num_exits - 1) float64, of running each branch, in the same unit.
        calls: by the number of a name, which rows are called so; of the names that something is asked for.
    """

    uncertainty: npt.NDArray[np.float32]
    disagrees: npt.NDArray[np.bool_]
    exit_cost: npt.NDArray[np.float64]
    branch_cost: npt.NDArray[np.float64]
    calls: Mapping[int, Calls] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.disagrees)

    @property
    def num_exits(self) -> int:
        """Exits, the last layer's included."""
        return int(self.disagrees.shape[1])

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "ExitOutcomes":
        """Return some of the rows."""
        return ExitOutcomes(
            uncertainty=self.uncertainty[rows],
            disagrees=self.disagrees[rows],
            exit_cost=self.exit_cost[rows],
            branch_cost=self.branch_cost[rows],
            calls={name: calls.take(rows) for name, calls in self.calls.items()},
        )

    def without_first_exit(self) -> "ExitOutcomes":
        """Return the outcomes of all other exits."""
        return replace(
            self,
            uncertainty=self.uncertainty[:, 1:],
            disagrees=self.disagrees[:, 1:],
            exit_cost=self.exit_cost[:, 1:],
            branch_cost=self.branch_cost[:, 1:],
            calls={name: replace(calls, by_exit=calls.by_exit[:, 1:]) for name, calls in self.calls.items()},
        )

    def exits_taken(self, thresholds: Sequence[float] | Thresholds) -> npt.NDArray[np.int64]:
        """Return at which place each row leaves, (rows,).

        Args:
            thresholds: (num_exits - 1,); a row leaves at the first exit where its uncertainty is below.
        """
        leaves = self.uncertainty < np.asarray(thresholds, dtype=np.float32)
        first: npt.NDArray[np.int64] = np.where(leaves.any(axis=1), leaves.argmax(axis=1), self.num_exits - 1)
        return first

    def disagrees_at(self, exits: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return whether each row's answer is not the teacher's, (rows,), from `exits_taken`."""
        disagrees: npt.NDArray[np.bool_] = self.disagrees[np.arange(len(self)), exits]
        return disagrees

    def cost_at(
        self, exits: npt.NDArray[np.int64], thresholds: Sequence[float] | Thresholds
    ) -> npt.NDArray[np.float64]:
        """Return what each row costs, (rows,), its branches counted.

        Args:
            exits: from `exits_taken`.
            thresholds: say which branches are run: those above 0.
        """
        return cost_of_exits(self.exit_cost, self.branch_cost, np.asarray(thresholds) > 0, exits)

    def saved_compute(self, thresholds: Sequence[float] | Thresholds) -> float:
        """Return the cost of full depth over that of the thresholds."""
        cost = self.cost_at(self.exits_taken(thresholds), thresholds).sum()
        return float(self.exit_cost[:, -1].sum() / cost) if cost else 1.0
