"""The shadow sample, unit by unit: rows that are drawn together are one draw.

A text of the sample is there with all its rows, which are alike; a group with all its texts, which are alike.
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

    Names are what a text may be called: labels, or cuts that it reaches.

    Attributes:
        num_texts: all of them.
        num_disagreements: those with another answer than full depth's in any row.
        by_teacher: (K,) int64, those that full depth calls by each name.
        missed: (K,) int64, those of them that the job does not call so in any row.
        called: (K,) int64, those that the job calls by each name.
        false: (K,) int64, those of them that full depth does not call so.
    """

    num_texts: int
    num_disagreements: int
    by_teacher: npt.NDArray[np.int64]
    missed: npt.NDArray[np.int64]
    called: npt.NDArray[np.int64]
    false: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """The row that speaks for a unit: where it stands, and what was answered."""

    place: bytes
    disagrees: bool
    by_teacher: npt.NDArray[np.bool_]
    missed: npt.NDArray[np.bool_]
    called: npt.NDArray[np.bool_]

    def joined(self, other: _Unit) -> _Unit:
        """Return a text of which two rows are known."""
        return _Unit(
            place=self.place,
            disagrees=self.disagrees | other.disagrees,
            by_teacher=self.by_teacher,
            missed=self.missed | other.missed,
            called=self.called | other.called,
        )


class ShadowTextsBuilder:
    """Counts units whose rows come in any order, in bounded memory."""

    def __init__(self, num_names: int, *, one_of_each: bool = False) -> None:
        """Start with nothing.

        Args:
            num_names: that a text may be called by.
            one_of_each: whether a unit's rows are several texts, of which one drawn at random speaks for it;
                else they are one text, which disagrees if any of its rows does.
        """
        self._num_names, self._one_of_each = num_names, one_of_each
        self._units: dict[bytes, _Unit] = {}

    def add(
        self,
        units: Sequence[bytes],
        places: Sequence[bytes],
        *,
        by_teacher: npt.NDArray[np.bool_],
        called: npt.NDArray[np.bool_],
        disagrees: npt.NDArray[np.bool_],
    ) -> None:
        """Add rows of the sample.

        Args:
            units: (rows,) hashes of what they are one of.
            places: (rows,) hashes of where they stand.
            by_teacher: (rows, K) what full depth calls them.
            called: (rows, K) what the job does.
            disagrees: (rows,) whether the job answered otherwise.
        """
        missed = by_teacher & ~called
        for row, (name, place) in enumerate(zip(units, places, strict=True)):
            unit = _Unit(
                place=place,
                disagrees=bool(disagrees[row]),
                by_teacher=by_teacher[row],
                missed=missed[row],
                called=called[row],
            )
            met = self._units.get(name)
            if met is None or (self._one_of_each and place <= met.place):
                self._units[name] = unit
            elif not self._one_of_each:
                self._units[name] = unit.joined(met)
        if len(self._units) >= 2 * _KEPT:
            self._units = self._smallest()

    def _smallest(self) -> dict[bytes, _Unit]:
        kept = heapq.nsmallest(_KEPT, self._units, key=lambda unit: unit[::-1])
        return {unit: self._units[unit] for unit in kept}

    def build(self) -> ShadowTexts:
        """Return the counts."""
        units = list(self._smallest().values())

        def total(flags: list[npt.NDArray[np.bool_]]) -> npt.NDArray[np.int64]:
            counts: npt.NDArray[np.int64] = (
                np.array(flags, dtype=np.int64).reshape(-1, self._num_names).sum(axis=0)
            )
            return counts

        return ShadowTexts(
            num_texts=len(units),
            num_disagreements=sum(unit.disagrees for unit in units),
            by_teacher=total([unit.by_teacher for unit in units]),
            missed=total([unit.missed for unit in units]),
            called=total([unit.called for unit in units]),
            false=total([unit.called & ~unit.by_teacher for unit in units]),
        )
