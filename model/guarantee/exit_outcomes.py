"""What every exit would have answered to some rows, and what getting there costs: any policy can be tried."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Thresholds = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ExitOutcomes:
    """Outcomes of all exits on some rows.

    Attributes:
        uncertainty: (rows, num_layers - 1) float32, what a policy's thresholds are held against.
        disagrees: (rows, num_layers) bool, whether an exit's label is not the teacher's; of the last layer
            it may be so by rounding.
        layer_cost: (rows, num_layers) float64, of a row that leaves there, branches not counted; any unit.
        branch_cost: (rows,) float64, of running one branch, in the same unit.
        teacher_labels: (rows,) int64.
    """

    uncertainty: npt.NDArray[np.float32]
    disagrees: npt.NDArray[np.bool_]
    layer_cost: npt.NDArray[np.float64]
    branch_cost: npt.NDArray[np.float64]
    teacher_labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.disagrees)

    @property
    def num_layers(self) -> int:
        """Exits, the last layer's included."""
        return int(self.disagrees.shape[1])

    def take(self, rows: slice | npt.NDArray[np.int64]) -> "ExitOutcomes":
        """Return some of the rows."""
        return ExitOutcomes(**{name: value[rows] for name, value in vars(self).items()})

    def exit_layers(self, thresholds: Sequence[float] | Thresholds) -> npt.NDArray[np.int64]:
        """Return where each row leaves, (rows,), counted from 1.

        Args:
            thresholds: (num_layers - 1,); a row leaves at the first layer where its uncertainty is below.
        """
        leaves = self.uncertainty < np.asarray(thresholds, dtype=np.float32)
        first: npt.NDArray[np.int64] = np.where(
            leaves.any(axis=1), leaves.argmax(axis=1) + 1, self.num_layers
        )
        return first

    def disagrees_at(self, exit_layers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return whether each row's answer is not the teacher's, (rows,), from `exit_layers`."""
        disagrees: npt.NDArray[np.bool_] = self.disagrees[np.arange(len(self)), exit_layers - 1]
        return disagrees

    def cost_at(
        self, exit_layers: npt.NDArray[np.int64], thresholds: Sequence[float] | Thresholds
    ) -> npt.NDArray[np.float64]:
        """Return what each row costs, (rows,), its branches counted.

        Args:
            exit_layers: from `exit_layers`.
            thresholds: say which branches are run: those above 0.
        """
        is_run = np.append(np.asarray(thresholds) > 0, False)
        num_branches = np.cumsum(is_run)[exit_layers - 1]
        cost: npt.NDArray[np.float64] = (
            self.layer_cost[np.arange(len(self)), exit_layers - 1] + num_branches * self.branch_cost
        )
        return cost

    def saved_compute(self, thresholds: Sequence[float] | Thresholds) -> float:
        """Return the cost of full depth over that of the thresholds."""
        cost = self.cost_at(self.exit_layers(thresholds), thresholds).sum()
        return float(self.layer_cost[:, -1].sum() / cost) if cost else 1.0
