"""What every exit would have answered to some rows, and what getting there costs: any policy can be tried."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model.cost.exit_cost import cost_of_exits

Thresholds = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ExitOutcomes:
    """Outcomes of all exits on some rows.

    Exits are told by their places, from 0: the lexical branch where there is one, and then the layers.

    Attributes:
        uncertainty: (rows, num_exits - 1) float32, what a policy's thresholds are held against, the length of
            the texts counted.
        disagrees: (rows, num_exits) bool, whether an exit's label is not the teacher's; of the last layer it
            may be so by rounding.
        exit_cost: (rows, num_exits) float64, of a row that leaves there, branches not counted; any unit.
        branch_cost: (rows, num_exits - 1) float64, of running each branch, in the same unit.
        teacher_labels: (rows,) int64.
    """

    uncertainty: npt.NDArray[np.float32]
    disagrees: npt.NDArray[np.bool_]
    exit_cost: npt.NDArray[np.float64]
    branch_cost: npt.NDArray[np.float64]
    teacher_labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.disagrees)

    @property
    def num_exits(self) -> int:
        """Exits, the last layer's included."""
        return int(self.disagrees.shape[1])

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "ExitOutcomes":
        """Return some of the rows."""
        return ExitOutcomes(**{name: value[rows] for name, value in vars(self).items()})

    def without_first_exit(self) -> "ExitOutcomes":
        """Return the outcomes of all other exits."""
        return replace(
            self,
            uncertainty=self.uncertainty[:, 1:],
            disagrees=self.disagrees[:, 1:],
            exit_cost=self.exit_cost[:, 1:],
            branch_cost=self.branch_cost[:, 1:],
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
