"""The shadow sample, each of its units once: what `audit` may take for independent draws.

A text is in the sample with all its copies or with none, so its rows say the same thing over and over; and a
group with all its texts, which are alike.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Texts of a larger sample: those that come first by the ends of their hashes, which no sample is drawn by.
_KEPT = 1 << 17


@dataclass(frozen=True, kw_only=True)
class ShadowTexts:
    """The shadow sample, one text of each unit.

    Attributes:
        by_label: (num_labels,) int64, those that full depth gives each label.
        disagreements: (num_labels,) int64, those of them with another answer in any row.
    """

    by_label: npt.NDArray[np.int64]
    disagreements: npt.NDArray[np.int64]

    @property
    def num_texts(self) -> int:
        """All of them."""
        return int(self.by_label.sum())

    @property
    def num_disagreements(self) -> int:
        """All that were answered otherwise."""
        return int(self.disagreements.sum())


class ShadowTextsBuilder:
    """Counts units whose rows come in any order, in bounded memory."""

    def __init__(self, num_labels: int, *, one_of_each: bool = False) -> None:
        """Start with nothing.

        Args:
            num_labels: of the model.
            one_of_each: whether a unit's rows are several texts, of which one drawn at random speaks for it;
                else they are one text, which disagrees if any of its rows does.
        """
        self._num_labels, self._one_of_each = num_labels, one_of_each
        # By unit: the row that speaks for it, what full depth answers to that, and whether the job did not.
        self._units: dict[bytes, tuple[bytes, int, bool]] = {}

    def add(
        self,
        units: Sequence[bytes],
        places: Sequence[bytes],
        label_ids: Sequence[int],
        disagrees: Sequence[bool],
    ) -> None:
        """Add rows of the sample.

        Args:
            units: (rows,) hashes of what they are one of.
            places: (rows,) hashes of where they stand.
            label_ids: (rows,) what full depth answers.
            disagrees: (rows,) whether the job answered otherwise.
        """
        for unit, place, label_id, is_other in zip(units, places, label_ids, disagrees, strict=True):
            met = self._units.get(unit)
            if met is not None and self._one_of_each and met[0] < place:
                continue
            any_other = met is not None and met[2] and not self._one_of_each
            self._units[unit] = (place, label_id, is_other or any_other)
        if len(self._units) >= 2 * _KEPT:
            self._units = self._smallest()

    def _smallest(self) -> dict[bytes, tuple[bytes, int, bool]]:
        kept = heapq.nsmallest(_KEPT, self._units, key=lambda unit: unit[::-1])
        return {unit: self._units[unit] for unit in kept}

    def build(self) -> ShadowTexts:
        """Return the counts."""
        units = self._smallest().values()
        label_ids = np.array([label_id for _, label_id, _ in units], dtype=np.int64)
        others = np.array([is_other for _, _, is_other in units], dtype=np.bool_)
        return ShadowTexts(
            by_label=np.bincount(label_ids, minlength=self._num_labels),
            disagreements=np.bincount(label_ids[others], minlength=self._num_labels),
        )
