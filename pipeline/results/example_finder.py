"""Which rows of a shadow sample are worth looking at: a few places, in bounded memory."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.results.shadow_texts import ShadowRows

_KEPT = 20


@dataclass(frozen=True, order=True)
class RowPlace:
    """Where a row stands.

    Attributes:
        shard: number of the shard.
        row: its row there.
    """

    shard: int
    row: int


@dataclass
class ExampleFinder:
    """Finds the rows worth looking at among those of a shadow sample, in any order.

    Attributes:
        wrong: of rows that were answered otherwise, uncertainty and place of the surest.
        unsure: of all rows, uncertainty (below 0) and place of the most unsure.
    """

    wrong: list[tuple[float, RowPlace]] = field(default_factory=list)
    unsure: list[tuple[float, RowPlace]] = field(default_factory=list)

    def add(self, shard: int, places: npt.NDArray[np.int64], rows: ShadowRows) -> None:
        """Add rows of a shard.

        Args:
            shard: its number.
            places: (rows,) where they stand in it.
            rows: what was answered.
        """
        met = [RowPlace(shard, place) for place in places.tolist()]
        uncertainty = rows.uncertainty.tolist()
        wrong = [
            (unsure, place)
            for unsure, place, disagrees in zip(uncertainty, met, rows.disagrees.tolist(), strict=True)
            if disagrees
        ]
        self.wrong = heapq.nsmallest(_KEPT, [*self.wrong, *wrong])
        unsure = [(-value, place) for value, place in zip(uncertainty, met, strict=True)]
        self.unsure = heapq.nsmallest(_KEPT, [*self.unsure, *unsure])
