"""Thresholds, one a layer, that cost little for the wrong answers that they let through.

Every wrong answer is given a price, and the thresholds with the least cost and price together are sought. A
high price gives safe thresholds, a low one fast ones; the prices in between give a path from one to the
other, on which a wrong answer is allowed wherever it saves most. Prices leave gaps where more risk saves
evenly more; there thresholds are moved from one end to the other, through equal shares of the rows.

What counts as wrong is how likely an exit is so at its uncertainty, not whether it was so for that row.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from model.exits.policy import ALWAYS_EXIT
from model.guarantee.error_probability import error_curve
from model.guarantee.exit_outcomes import ExitOutcomes, Thresholds

# Prices of the path, and of its closer look at the part that matters.
_COARSE, _FINE = 32, 32
# Risks in between at which thresholds are moved from one candidate to the next.
_AT_RISKS = 48
_MAX_SWEEPS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """Thresholds, and what they come to on the rows that they were found with.

    Attributes:
        thresholds: (num_layers - 1,) float32; 0 where the branch is not run.
        risk: mean weight of the wrong answers to expect.
        cost: mean cost of a row.
    """

    thresholds: Thresholds
    risk: float
    cost: float


def candidate_path(
    outcomes: ExitOutcomes,
    weights: npt.NDArray[np.float64] | None = None,
    *,
    groups: npt.NDArray[np.int64] | None = None,
    focus: tuple[float, float] | None = None,
) -> list[Candidate]:
    """Return thresholds from safe to fast: of two, the later one has more risk and less cost.

    Args:
        outcomes: at least one row.
        weights: (rows,) how much a wrong answer to each row counts, from 1 on; None for 1 each.
        groups: (rows,) numbers of groups among which exits may be wrong more often than among others; None
            for one group.
        focus: a range of risks where the path is to be dense; None for everywhere alike.

    Returns:
        No candidate that costs as much as full depth.
    """
    search = _Search(
        outcomes,
        np.ones(len(outcomes)) if weights is None else weights,
        np.zeros(len(outcomes), dtype=np.int64) if groups is None else groups,
    )
    full = search.try_out(np.zeros(outcomes.num_layers - 1, dtype=np.float32))
    # From where one wrong answer outweighs all rows, to where an early exit is worth many.
    prices = np.geomspace(full.cost * len(outcomes), full.cost / 20, _COARSE)
    found = search.along(prices)
    if focus is not None:
        found += search.along(_prices_between(prices, found, focus))
    path = _pareto([full, *found])
    if focus is not None:
        path = _pareto([*path, *search.at_risks(np.linspace(*focus, _AT_RISKS), path)])
    return [candidate for candidate in path if candidate.cost < full.cost]


def between(
    outcomes: ExitOutcomes, one: Thresholds, other: Thresholds, shares: npt.ArrayLike
) -> list[Thresholds]:
    """Return thresholds from one to the other, each letting so many rows more, or less, leave.

    Args:
        outcomes: whose rows are counted.
        one: (num_layers - 1,).
        other: likewise.
        shares: of the way, 0 for one and 1 for the other.
    """
    ordered = np.sort(outcomes.uncertainty, axis=0)
    places = np.concatenate([ordered, np.full((1, ordered.shape[1]), ALWAYS_EXIT, dtype=np.float32)])
    layers = np.arange(ordered.shape[1])

    def rank(thresholds: Thresholds) -> npt.NDArray[np.int64]:
        return np.array([np.searchsorted(ordered[:, layer], thresholds[layer]) for layer in layers])

    first, last = rank(one), rank(other)
    moved: list[Thresholds] = []
    for share in np.asarray(shares, dtype=np.float64).tolist():
        ranks = np.rint((1 - share) * first + share * last).astype(np.int64)
        moved.append(np.where(ranks > 0, places[ranks, layers], np.float32(0)))
    return moved


def _prices_between(
    prices: npt.NDArray[np.float64], found: list[Candidate], focus: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Return prices at which risks within `focus` are to be expected."""
    low, high = focus
    safe = [price for price, candidate in zip(prices, found, strict=True) if candidate.risk <= low]
    fast = [price for price, candidate in zip(prices, found, strict=True) if candidate.risk >= high]
    return np.geomspace(min(safe, default=prices[0]), max(fast, default=prices[-1]), _FINE)


def _pareto(candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates that no other beats in both risk and cost, safest first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda each: (each.risk, each.cost)):
        if not kept or candidate.cost < kept[-1].cost:
            kept.append(candidate)
    return kept


class _Search:
    """Coordinate descent: each layer's threshold is the best one, given those of the others."""

    def __init__(
        self, outcomes: ExitOutcomes, weights: npt.NDArray[np.float64], groups: npt.NDArray[np.int64]
    ) -> None:
        self._outcomes = outcomes
        self._risk = weights[:, None] * _expected_errors(outcomes, groups)
        # By layer: rows in the order of their uncertainty, and after which of them a threshold may stand.
        self._order = outcomes.uncertainty.argsort(axis=0, kind="stable").T
        self._sorted = np.take_along_axis(outcomes.uncertainty.T, self._order, axis=1)
        beyond = np.full((len(self._sorted), 1), ALWAYS_EXIT, dtype=np.float32)
        self._next = np.concatenate([self._sorted[:, 1:], beyond], axis=1)
        self._is_place = self._sorted < self._next

    def along(self, prices: npt.NDArray[np.float64]) -> list[Candidate]:
        """Return the best thresholds at each price, each search starting where the one before ended."""
        thresholds = np.zeros(self._outcomes.num_layers - 1, dtype=np.float32)
        found = []
        for price in prices:
            thresholds = self._descend(thresholds, price)
            found.append(self.try_out(thresholds))
        return found

    def at_risks(self, risks: npt.NDArray[np.float64], path: list[Candidate]) -> list[Candidate]:
        """Return thresholds between neighbours on a path, where these risks are to be expected."""
        found = []
        for one, other in pairwise(path):
            inside = risks[(one.risk < risks) & (risks < other.risk)]
            shares = (inside - one.risk) / (other.risk - one.risk)
            for thresholds in between(self._outcomes, one.thresholds, other.thresholds, shares):
                found.append(self.try_out(thresholds))
        return found

    def try_out(self, thresholds: Thresholds) -> Candidate:
        """Return what thresholds come to."""
        exits = self._outcomes.exits(thresholds)
        return Candidate(
            thresholds=thresholds,
            risk=float(self._risk[np.arange(len(exits)), exits].mean()),
            cost=float(self._outcomes.cost_at(exits, thresholds).mean()),
        )

    def _descend(self, thresholds: Thresholds, price: float) -> Thresholds:
        for _ in range(_MAX_SWEEPS):
            better = self._sweep(thresholds, price)
            if np.array_equal(better, thresholds):
                break
            thresholds = better
        return thresholds

    def _sweep(self, thresholds: Thresholds, price: float) -> Thresholds:
        """Return thresholds, each best for those before it as they were and those after it as they are."""
        outcomes, new = self._outcomes, thresholds.copy()
        leaves = outcomes.uncertainty < thresholds
        gone = np.logical_or.accumulate(leaves, axis=1)
        total = outcomes.layer_cost + price * self._risk
        # What a row comes to that goes on from a layer, known from the last layer backwards.
        going_on = total[:, -1].copy()
        for layer in range(len(thresholds) - 1, -1, -1):
            gain = total[:, layer] - going_on
            if layer:
                gain[gone[:, layer - 1]] = 0.0
                branch = float(outcomes.branch_cost[~gone[:, layer - 1]].sum())
            else:
                branch = float(outcomes.branch_cost.sum())
            sums = gain[self._order[layer]].cumsum()
            sums[~self._is_place[layer]] = np.inf
            best = int(sums.argmin())
            if sums[best] + branch < 0:
                new[layer] = self._next[layer, best]
                is_below = outcomes.uncertainty[:, layer] < new[layer]
                going_on = np.where(is_below, total[:, layer], going_on) + outcomes.branch_cost
            else:
                new[layer] = 0.0
        return new


def _expected_errors(outcomes: ExitOutcomes, groups: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return how likely every exit is wrong about every row, (rows, num_layers)."""
    expected = outcomes.is_wrong.astype(np.float64)
    for group in np.unique(groups):
        rows = groups == group
        for layer in range(outcomes.num_layers - 1):
            expected[rows, layer] = error_curve(
                outcomes.uncertainty[rows, layer], outcomes.is_wrong[rows, layer]
            )
    return expected
