from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.threshold_search import SearchEffort, _Search, candidate_path, interpolate
from tests.model.exit_populations import KINDS, LAYERS, population


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_goes_from_safe_to_fast(kind):
    rows = population(kind, num_rows=1000)
    path = candidate_path(rows)
    for one, other in pairwise(path):
        assert one.risk < other.risk
        assert one.cost > other.cost
    for candidate in path:
        exits = rows.exits_taken(candidate.thresholds)
        assert candidate.risk == pytest.approx(rows.disagrees_at(exits).mean(), abs=0.03)
        assert candidate.cost == pytest.approx(rows.cost_at(exits, candidate.thresholds).mean())
        assert candidate.cost < rows.exit_cost[:, -1].mean()


def test_perfect_exits_let_everything_leave_at_the_first():
    rows = population("perfect", num_rows=500)
    candidate = candidate_path(rows)[-1]
    assert candidate.risk < 0.01
    assert (rows.exits_taken(candidate.thresholds) == 0).all()
    assert list(candidate.thresholds[1:]) == [0] * (LAYERS - 2), "branches that nobody reaches are not run"


def test_a_branch_that_costs_more_than_it_saves_is_not_run():
    rows = population("sensible", num_rows=500)
    dear = ExitOutcomes(**{**vars(rows), "branch_cost": rows.exit_cost[:, :1] * [3.5, 3.5, 3.5]})
    assert candidate_path(dear) == []


def every_policy(rows, places):
    """All thresholds at so many places a layer."""
    values = [[0.0, *np.quantile(column, np.linspace(0, 1, places)), 2.0] for column in rows.uncertainty.T]
    return [np.array(each, dtype=np.float32) for each in product(*values)]


@pytest.mark.parametrize("kind", ["sensible", "useless", "overconfident"])
def test_no_policy_of_a_grid_beats_the_path_by_much(kind):
    rows = population(kind, num_rows=2000)
    path = candidate_path(rows, focus=(0.0, 0.2))
    safest = [(0.0, float(rows.exit_cost[:, -1].mean()))]
    found = safest + [
        (rows.disagrees_at(rows.exits_taken(candidate.thresholds)).mean(), candidate.cost)
        for candidate in path
    ]
    for thresholds in every_policy(rows, 7):
        exits = rows.exits_taken(thresholds)
        # More than a lucky threshold between single errors gains.
        risk = rows.disagrees_at(exits).mean() + 0.02
        if risk > 0.17:
            continue
        cost = rows.cost_at(exits, thresholds).mean()
        assert min(other for others, other in found if others <= risk) <= cost * 1.03


@settings(max_examples=20)
@given(st.lists(st.sampled_from([0.25, 0.5, 0.75]), min_size=12, max_size=60), st.integers(0, 99))
def test_rows_of_equal_uncertainty_leave_together(values, seed):
    rng = np.random.default_rng(seed)
    uncertainty = np.array(values[: len(values) // 3 * 3], dtype=np.float32).reshape(-1, 3)
    rows = len(uncertainty)
    outcomes = ExitOutcomes(
        uncertainty=uncertainty,
        disagrees=np.append(rng.random((rows, 3)) < 0.3, np.zeros((rows, 1), dtype=bool), axis=1),
        exit_cost=np.tile(np.arange(1.0, 5.0), (rows, 1)),
        branch_cost=np.full((rows, 3), 0.07),
    )
    for candidate in candidate_path(outcomes):
        for threshold in candidate.thresholds:
            assert threshold in (0, 0.5, 0.75, 2)


def test_rows_that_weigh_more_are_answered_more_safely():
    rows = population("sensible", num_rows=4000)
    is_common = rows.calls[0].by_teacher
    weights = np.broadcast_to(np.where(is_common, 20.0, 1.0)[:, None], rows.disagrees.shape)
    plain, careful = candidate_path(rows), candidate_path(rows, weights)

    def missed(candidate):
        return rows.disagrees_at(rows.exits_taken(candidate.thresholds))[is_common].mean()

    fast = min(plain, key=lambda each: abs(each.cost - plain[-1].cost))
    same_price = [each for each in careful if each.risk <= fast.risk]
    assert min(map(missed, same_price)) < missed(fast)


def test_the_path_is_dense_where_it_is_looked_at():
    rows = population("sensible", num_rows=5000)
    inside = [
        sum(0.005 < candidate.risk < 0.02 for candidate in candidate_path(rows, focus=focus))
        for focus in (None, (0.005, 0.02))
    ]
    assert inside[1] > 2 * inside[0]


def test_it_is_dense_where_the_rows_show_these_risks_whatever_is_expected():
    """An exit that is as sure of what the one before it left as of all else, and oftener wrong there."""
    rng, rows = np.random.default_rng(0), 4000
    is_hard = rng.random(rows) < 0.2
    wrong = np.zeros((rows, 3), dtype=bool)
    wrong[:, :2] = is_hard[:, None] & (rng.random((rows, 2)) < [0.9, 0.2])
    uncertainty = rng.random((rows, 2)).astype(np.float32)
    uncertainty[:, 0] = np.where(is_hard, 0.9, 0.1) + uncertainty[:, 0] / 100
    outcomes = ExitOutcomes(
        uncertainty=uncertainty,
        disagrees=wrong,
        exit_cost=np.tile([1.0, 2.0, 12.0], (rows, 1)),
        branch_cost=np.full((rows, 2), 0.01),
    )
    path = candidate_path(outcomes, focus=(0.002, 0.03))
    looked_at = [each for each in path if 0.002 < each.seen_risk < 0.03]
    assert all(each.risk < each.seen_risk for each in looked_at), "as rarely wrong as elsewhere"
    assert len(looked_at) > 30


def test_groups_that_exits_are_oftener_wrong_about_are_told_apart():
    rows = population("sensible", num_rows=4000)
    rare = rows.calls[3].by_teacher
    wrong = rows.disagrees.copy()
    wrong[rare, :-1] = True
    rows = ExitOutcomes(**{**vars(rows), "disagrees": wrong})
    weights = np.where(rare, 50.0, 1.0)
    by_exit, is_rare = (np.tile(each[:, None], rows.num_exits) for each in (weights, rare))
    blind = candidate_path(rows, by_exit)
    told = candidate_path(rows, by_exit, groups=is_rare.astype(np.int64))

    def mistaken_about(path):
        """How far risks on the path are from what was found."""
        gaps = []
        for candidate in path:
            found = (rows.disagrees_at(rows.exits_taken(candidate.thresholds)) * weights).mean()
            assert candidate.seen_risk == pytest.approx(found)
            gaps.append(abs(candidate.risk - found))
        return max(gaps)

    assert mistaken_about(told) < 0.5 * mistaken_about(blind)


# -- one pass over the coordinates --------------------------------------------------------------------

BRANCHES, ROWS = 3, 6
uncertainties = st.lists(
    st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), min_size=BRANCHES, max_size=BRANCHES),
    min_size=ROWS,
    max_size=ROWS,
)
flags = st.lists(st.lists(st.booleans(), min_size=BRANCHES, max_size=BRANCHES), min_size=ROWS, max_size=ROWS)
costs = st.lists(st.floats(0.1, 5), min_size=ROWS, max_size=ROWS)


def lagrangian(rows, risk, thresholds, multiplier):
    """Cost + multiplier * risk, each row walked through the layers."""
    total = 0.0
    for row in range(len(rows)):
        for place in range(rows.num_exits):
            is_last = place == rows.num_exits - 1
            total += 0 if is_last or thresholds[place] == 0 else rows.branch_cost[row, place]
            if is_last or rows.uncertainty[row, place] < thresholds[place]:
                total += rows.exit_cost[row, place] + multiplier * risk[row, place]
                break
    return total


@settings(max_examples=300)
@given(uncertainties, flags, costs, costs, st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_a_pass_takes_the_best_of_all_thresholds_in_every_coordinate(
    uncertainty, disagrees, exit_cost, branch_cost, multiplier, seed
):
    rng = np.random.default_rng(seed)
    rows = ExitOutcomes(
        uncertainty=np.array(uncertainty, dtype=np.float32),
        disagrees=np.append(np.array(disagrees), np.zeros((ROWS, 1), dtype=bool), axis=1),
        exit_cost=np.array(exit_cost)[:, None] * np.arange(1.0, BRANCHES + 2),
        branch_cost=np.array(branch_cost)[:, None] * [0.01, 0.3, 0.5],
    )
    search = _Search(rows, rng.uniform(1, 5, (ROWS, BRANCHES + 1)), rng.integers(0, 2, (ROWS, BRANCHES + 1)))
    everywhere = [np.array([0, *sorted(set(column)), 2], dtype=np.float32) for column in rows.uncertainty.T]
    before = np.array([rng.choice(values) for values in everywhere], dtype=np.float32)
    after = search._coordinate_pass(before, multiplier)
    for layer, values in enumerate(everywhere):

        def price(threshold, layer=layer):
            thresholds = np.array([*before[:layer], threshold, *after[layer + 1 :]], dtype=np.float32)
            return lagrangian(rows, search._risk, thresholds, multiplier)

        assert price(after[layer]) <= min(map(price, values)) + 1e-9 * (1 + multiplier)


def test_passes_never_make_it_worse():
    rows = population("sensible", num_rows=300)
    search = _Search(rows, np.ones((300, LAYERS)), np.zeros((300, LAYERS), dtype=np.int64))
    thresholds = np.zeros(LAYERS - 1, dtype=np.float32)
    prices = []
    for _ in range(6):
        candidate = search.evaluate(thresholds)
        prices.append(candidate.cost + 20.0 * candidate.risk)
        thresholds = search._coordinate_pass(thresholds, 20.0)
    assert prices[-1] < prices[0]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(prices))


def test_less_effort_is_a_shorter_path():
    rows = population("sensible", num_rows=1000)
    short = candidate_path(rows, focus=(0.0, 0.2), effort=SearchEffort(num_coarse=4, num_fine=2, num_risks=3))
    assert 0 < len(short) <= 4 + 2 + 3
    assert len(candidate_path(rows, focus=(0.0, 0.2))) > 2 * len(short)


def test_thresholds_are_moved_through_equal_shares_of_the_rows():
    rows = population("sensible", num_rows=1000)
    start, end = np.zeros(LAYERS - 1, dtype=np.float32), np.full(LAYERS - 1, 2, dtype=np.float32)
    moved = interpolate(rows, start, end, [0, 0.25, 0.5, 1])
    leaving = [(rows.uncertainty < thresholds).mean(axis=0).tolist() for thresholds in moved]
    assert leaving == [[share] * (LAYERS - 1) for share in (0.0, 0.25, 0.5, 1.0)]
