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

Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ShadowRows:
    """Rows of the shadow sample, or one row of each of its units.

    Names are what a text may be called: labels, or cuts that it reaches.

    Attributes:
        exit_layer: (rows,) where they left.
        uncertainty: (rows,) float64, there.
        first_uncertainty: (rows,) float64, at the first exit that was run.
        num_tokens: (rows,) int64.
        num_unknown: (rows,) int64, of them unknown to the tokenizer.
        by_teacher: (rows, K) what full depth calls them.
        called: (rows, K) what the job does.
        missed: (rows, K) what full depth calls them, and the job, in any row of the unit, does not.
        disagrees: (rows,) whether the job answered otherwise, in any row of the unit.
    """

    exit_layer: Counts
    uncertainty: npt.NDArray[np.float64]
    first_uncertainty: npt.NDArray[np.float64]
    num_tokens: Counts
    num_unknown: Counts
    by_teacher: Bools
    called: Bools
    missed: Bools
    disagrees: Bools

    def __len__(self) -> int:
        return len(self.disagrees)

    def take(self, rows: Counts) -> ShadowRows:
        """Return some of the rows."""
        return ShadowRows(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class ShadowTexts:
    """The shadow sample, one text of each unit.

    Attributes:
        rows: the texts.
    """

    rows: ShadowRows

    @property
    def num_texts(self) -> int:
        """All of them."""
        return len(self.rows)

    @property
    def num_disagreements(self) -> int:
        """Those with another answer than full depth's in any row."""
        return int(self.rows.disagrees.sum())

    @property
    def by_teacher(self) -> Counts:
        """(K,) those that full depth calls by each name."""
        return _total(self.rows.by_teacher)

    @property
    def missed(self) -> Counts:
        """(K,) those of them that the job does not call so in any row."""
        return _total(self.rows.missed)

    @property
    def called(self) -> Counts:
        """(K,) those that the job calls by each name."""
        return _total(self.rows.called)

    @property
    def false(self) -> Counts:
        """(K,) those of them that full depth does not call so."""
        return _total(self.rows.called & ~self.rows.by_teacher)


def _total(flags: Bools) -> Counts:
    counts: Counts = flags.sum(axis=0, dtype=np.int64)
    return counts


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """The row that speaks for a unit: where it stands, and what was answered."""

    place: bytes
    numbers: tuple[int, float, float, int, int]
    disagrees: bool
    by_teacher: Bools
    missed: Bools
    called: Bools

    def joined(self, other: _Unit) -> _Unit:
        """Return a text of which two rows are known."""
        return _Unit(
            place=self.place,
            numbers=self.numbers,
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

    def add(self, units: Sequence[bytes], places: Sequence[bytes], rows: ShadowRows) -> None:
        """Add rows of the sample.

        Args:
            units: (rows,) hashes of what they are one of.
            places: (rows,) hashes of where they stand.
            rows: what was answered.
        """
        numbers = (
            rows.exit_layer,
            rows.uncertainty,
            rows.first_uncertainty,
            rows.num_tokens,
            rows.num_unknown,
        )
        per_row = zip(*(values.tolist() for values in numbers), strict=True)
        for row, (name, place, told) in enumerate(zip(units, places, per_row, strict=True)):
            unit = _Unit(
                place=place,
                numbers=told,
                disagrees=bool(rows.disagrees[row]),
                # Copied, or a row that is kept would keep its whole batch.
                by_teacher=rows.by_teacher[row].copy(),
                missed=rows.missed[row].copy(),
                called=rows.called[row].copy(),
            )
            met = self._units.get(name)
            if met is None or (self._one_of_each and place <= met.place):
                self._units[name] = unit
            elif not self._one_of_each:
                self._units[name] = unit.joined(met) if place < met.place else met.joined(unit)
        if len(self._units) >= 2 * _KEPT:
            self._units = self._smallest()

    def _smallest(self) -> dict[bytes, _Unit]:
        kept = heapq.nsmallest(_KEPT, self._units, key=lambda unit: unit[::-1])
        return {unit: self._units[unit] for unit in kept}

    def build(self) -> ShadowTexts:
        """Return the texts, in the order of the ends of their hashes."""
        units = list(self._smallest().values())
        exit_layer, uncertainty, first_uncertainty, num_tokens, num_unknown = (
            np.array([unit.numbers for unit in units], dtype=np.float64).reshape(-1, 5).T
        )

        def flags(of_units: list[Bools]) -> Bools:
            return np.array(of_units, dtype=np.bool_).reshape(len(of_units), self._num_names)

        rows = ShadowRows(
            exit_layer=exit_layer.astype(np.int64),
            uncertainty=uncertainty,
            first_uncertainty=first_uncertainty,
            num_tokens=num_tokens.astype(np.int64),
            num_unknown=num_unknown.astype(np.int64),
            by_teacher=flags([unit.by_teacher for unit in units]),
            called=flags([unit.called for unit in units]),
            missed=flags([unit.missed for unit in units]),
            disagrees=np.array([unit.disagrees for unit in units], dtype=np.bool_),
        )
        return ShadowTexts(rows=rows)
