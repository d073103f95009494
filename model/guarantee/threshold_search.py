"""Thresholds, one per exit, that cost little for the disagreements that they let through.

Every disagreement is given a price, the multiplier of a Lagrangian, and the thresholds that minimise
cost + multiplier * risk are sought. A high multiplier gives safe thresholds, a low one fast ones; those in
between give a path from one to the other, on which a disagreement is allowed wherever it saves most.
Multipliers leave gaps where more risk saves evenly more; there thresholds are moved from one end to the
other, through equal shares of the rows.

What counts as risk is how likely an exit disagrees at its uncertainty, not whether it did so for that row.
That is too low where the exits that others leave to are worse on what is left to them, as with many labels;
so where a path is to be dense is told by the disagreements that the rows show.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from model.exits.policy import ALWAYS_EXIT
from model.guarantee.disagreement_probability import fit_disagreement_probability
from model.guarantee.exit_outcomes import ExitOutcomes, Thresholds

_MAX_PASSES = 8


@dataclass(frozen=True, kw_only=True)
class SearchEffort:
    """How many thresholds a path is made of; fewer make a shorter path, which is certified as strictly.

    Attributes:
        num_coarse: multipliers of the whole path.
        num_fine: multipliers of its closer look at the part that matters.
        num_risks: risks in between at which thresholds are moved from one candidate to the next.
        num_closed: so many of the first exits are left out by turns, in paths of their own.
    """

    num_coarse: int = 32
    num_fine: int = 32
    num_risks: int = 48
    num_closed: int = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """Thresholds, and what they come to on the rows that they were found with.

    Attributes:
        thresholds: (num_exits - 1,) float32; 0 where the branch is not run.
        risk: mean weight of the disagreements to expect.
        seen_risk: mean weight of the disagreements that there are.
        cost: mean cost of a row.
    """

    thresholds: Thresholds
    risk: float
    seen_risk: float
    cost: float


def candidate_path(
    outcomes: ExitOutcomes,
    weights: npt.NDArray[np.float64] | None = None,
    *,
    groups: npt.NDArray[np.int64] | None = None,
    focus: tuple[float, float] | None = None,
    effort: SearchEffort = SearchEffort(),
) -> list[Candidate]:
    """Return thresholds from safe to fast: of two, the later one has more risk and less cost.

    Args:
        outcomes: at least one row.
        weights: (rows, num_exits) how much a disagreement counts, from 1 on; None for 1 each.
        groups: (rows, num_exits) numbers of groups among which exits may disagree more often than among
            others; None for one group.
        focus: a range of risks, as the rows show them, where the path is to be dense; None for everywhere
            alike.
        effort: how dense.

    Returns:
        No candidate that costs as much as full depth.
    """
    shape = outcomes.disagrees.shape
    weights = np.ones(shape) if weights is None else weights
    groups = np.zeros(shape, dtype=np.int64) if groups is None else groups
    # The first exits are the cheapest and err most: where hardly any error is allowed, a search that may not
    # use them goes further than one that has to find that out.
    path: list[Candidate] = []
    for num_closed in range(min(effort.num_closed, outcomes.num_exits - 2) + 1):
        closed = np.zeros(num_closed, dtype=np.float32)
        for each in _path(outcomes, weights, groups, focus, effort):
            path.append(replace(each, thresholds=np.append(closed, each.thresholds)))
        outcomes, weights, groups = outcomes.without_first_exit(), weights[:, 1:], groups[:, 1:]
    return _pareto_front(path)


def _path(
    outcomes: ExitOutcomes,
    weights: npt.NDArray[np.float64],
    groups: npt.NDArray[np.int64],
    focus: tuple[float, float] | None,
    effort: SearchEffort,
) -> list[Candidate]:
    """Return a path over all exits; see `candidate_path`."""
    search = _Search(outcomes, weights, groups)
    full_depth = search.evaluate(np.zeros(outcomes.num_exits - 1, dtype=np.float32))
    # From where one disagreement outweighs all rows, to where an early exit is worth many.
    multipliers = np.geomspace(full_depth.cost * len(outcomes), full_depth.cost / 20, effort.num_coarse)
    candidates = search.solve_path(multipliers)
    path = _pareto_front([full_depth, *candidates])
    if focus is not None:
        inside = _multipliers_within(_expected(focus, path), multipliers, candidates, effort.num_fine)
        path = _pareto_front([*path, *search.solve_path(inside)])
        risks = np.linspace(*_expected(focus, path), effort.num_risks)
        path = _pareto_front([*path, *search.interpolate_at_risks(risks, path)])
    return [candidate for candidate in path if candidate.cost < full_depth.cost]


def interpolate(
    outcomes: ExitOutcomes, start: Thresholds, end: Thresholds, shares: npt.ArrayLike
) -> list[Thresholds]:
    """Return thresholds from one to the other, each letting so many rows more, or less, leave.

    Args:
        outcomes: whose rows are counted.
        start: (num_exits - 1,).
        end: likewise.
        shares: of the way, 0 for `start` and 1 for `end`.
    """
    ordered = np.sort(outcomes.uncertainty, axis=0)
    by_rank = np.concatenate([ordered, np.full((1, ordered.shape[1]), ALWAYS_EXIT, dtype=np.float32)])
    exits = np.arange(ordered.shape[1])

    def rank(thresholds: Thresholds) -> npt.NDArray[np.int64]:
        return np.array([np.searchsorted(ordered[:, each], thresholds[each]) for each in exits])

    first, last = rank(start), rank(end)
    moved: list[Thresholds] = []
    for share in np.asarray(shares, dtype=np.float64).tolist():
        ranks = np.rint((1 - share) * first + share * last).astype(np.int64)
        moved.append(np.where(ranks > 0, by_rank[ranks, exits], np.float32(0)))
    return moved


def _expected(seen: tuple[float, float], path: list[Candidate]) -> tuple[float, float]:
    """Return the range of expected risks in which a path, safest first, shows a range of seen ones."""
    low, high = seen
    rising = list(zip(path, np.maximum.accumulate([each.seen_risk for each in path]), strict=True))
    return (
        max((candidate.risk for candidate, risk in rising if risk <= low), default=path[0].risk),
        min((candidate.risk for candidate, risk in rising if risk >= high), default=path[-1].risk),
    )


def _multipliers_within(
    focus: tuple[float, float],
    multipliers: npt.NDArray[np.float64],
    candidates: list[Candidate],
    number: int,
) -> npt.NDArray[np.float64]:
    """Return multipliers at which risks within `focus` are to be expected."""
    low, high = focus
    pairs = list(zip(multipliers, candidates, strict=True))
    safe = [multiplier for multiplier, candidate in pairs if candidate.risk <= low]
    fast = [multiplier for multiplier, candidate in pairs if candidate.risk >= high]
    return np.geomspace(min(safe, default=multipliers[0]), max(fast, default=multipliers[-1]), number)


def _pareto_front(candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates that no other beats in both risk and cost, safest first."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda each: (each.risk, each.cost)):
        if not front or candidate.cost < front[-1].cost:
            front.append(candidate)
    return front


class _Search:
    """Coordinate descent: each exit's threshold is the best one, given those of the others."""

    def __init__(
        self, outcomes: ExitOutcomes, weights: npt.NDArray[np.float64], groups: npt.NDArray[np.int64]
    ) -> None:
        self._outcomes = outcomes
        self._risk = weights * _expected_disagreements(outcomes, groups)
        self._seen_risk = weights * outcomes.disagrees
        # By exit: rows in the order of their uncertainty, and after which of them a threshold may stand.
        self._order = outcomes.uncertainty.argsort(axis=0, kind="stable").T
        self._sorted = np.take_along_axis(outcomes.uncertainty.T, self._order, axis=1)
        beyond = np.full((len(self._sorted), 1), ALWAYS_EXIT, dtype=np.float32)
        self._next = np.concatenate([self._sorted[:, 1:], beyond], axis=1)
        self._can_part = self._sorted < self._next

    def solve_path(self, multipliers: npt.NDArray[np.float64]) -> list[Candidate]:
        """Return the best thresholds at each multiplier, each search starting where the last one ended."""
        thresholds = np.zeros(self._outcomes.num_exits - 1, dtype=np.float32)
        candidates = []
        for multiplier in multipliers:
            thresholds = self._coordinate_descent(thresholds, multiplier)
            candidates.append(self.evaluate(thresholds))
        return candidates

    def interpolate_at_risks(self, risks: npt.NDArray[np.float64], path: list[Candidate]) -> list[Candidate]:
        """Return thresholds between neighbours on a path, where these risks are to be expected."""
        candidates = []
        for safer, faster in pairwise(path):
            inside = risks[(safer.risk < risks) & (risks < faster.risk)]
            shares = (inside - safer.risk) / (faster.risk - safer.risk)
            for thresholds in interpolate(self._outcomes, safer.thresholds, faster.thresholds, shares):
                candidates.append(self.evaluate(thresholds))
        return candidates

    def evaluate(self, thresholds: Thresholds) -> Candidate:
        """Return what thresholds come to."""
        exits = self._outcomes.exits_taken(thresholds)
        rows = np.arange(len(exits))
        return Candidate(
            thresholds=thresholds,
            risk=float(self._risk[rows, exits].mean()),
            seen_risk=float(self._seen_risk[rows, exits].mean()),
            cost=float(self._outcomes.cost_at(exits, thresholds).mean()),
        )

    def _coordinate_descent(self, thresholds: Thresholds, multiplier: float) -> Thresholds:
        for _ in range(_MAX_PASSES):
            better = self._coordinate_pass(thresholds, multiplier)
            if np.array_equal(better, thresholds):
                break
            thresholds = better
        return thresholds

    def _coordinate_pass(self, thresholds: Thresholds, multiplier: float) -> Thresholds:
        """Return thresholds, each the best one for those before it as they were and those after as they are.

        Let e[i] be what a row comes to that leaves at exit i, its cost there plus the multiplier times its
        risk; b[i] what the branch there costs it; and c[i] what it comes to if it goes on from there; N is
        the last exit:

            c[N-1] = e[N]
            c[i-1] = b[i] + (e[i] if uncertainty[i] < t[i] else c[i])     where the branch of i is run
            c[i-1] = c[i]                                                 where it is not

        From the last branch backwards, t[i] is the one that minimises the sum of c[i-1] over the rows that
        the thresholds before i let through. In the order of their uncertainty the rows that leave are a
        prefix, so that sum is, but for a constant, the cumulative sum of e[i] - c[i] at the prefix's end;
        without a negative minimum, branches counted, the branch is not run. Exact in every coordinate:
        tests/model/guarantee/test_threshold_search.py compares it with all thresholds tried one by one.
        """
        outcomes, best = self._outcomes, thresholds.copy()
        left_before = np.logical_or.accumulate(outcomes.uncertainty < thresholds, axis=1)
        if_exits = outcomes.exit_cost + multiplier * self._risk
        if_goes_on = if_exits[:, -1].copy()
        for place in range(len(thresholds) - 1, -1, -1):
            gain, branch_cost = if_exits[:, place] - if_goes_on, outcomes.branch_cost[:, place]
            total_branch_cost = branch_cost.sum()
            if place:
                gain[left_before[:, place - 1]] = 0.0
                total_branch_cost = branch_cost[~left_before[:, place - 1]].sum()
            sums = gain[self._order[place]].cumsum()
            sums[~self._can_part[place]] = np.inf
            end = int(sums.argmin())
            if sums[end] + total_branch_cost < 0:
                best[place] = self._next[place, end]
                exits_here = outcomes.uncertainty[:, place] < best[place]
                if_goes_on = np.where(exits_here, if_exits[:, place], if_goes_on) + branch_cost
            else:
                best[place] = 0.0
        return best


def _expected_disagreements(outcomes: ExitOutcomes, groups: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return how likely every exit disagrees about every row, (rows, num_exits)."""
    expected = outcomes.disagrees.astype(np.float64)
    for place in range(outcomes.num_exits - 1):
        for group in np.unique(groups[:, place]):
            rows = groups[:, place] == group
            expected[rows, place] = fit_disagreement_probability(
                outcomes.uncertainty[rows, place], outcomes.disagrees[rows, place]
            )
    return expected
