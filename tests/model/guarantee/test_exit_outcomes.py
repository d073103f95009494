import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.guarantee.exit_outcomes import ExitOutcomes
from tests.model.exit_populations import KINDS, LAYERS, population

THRESHOLDS = st.tuples(*[st.one_of(st.just(0.0), st.floats(0, 1, width=32), st.just(2.0))] * (LAYERS - 1))


@given(st.sampled_from(KINDS), THRESHOLDS)
def test_equals_walking_through_the_layers(kind, thresholds):
    rows = population(kind, num_rows=40)
    exits = rows.exits_taken(thresholds)
    wrong, cost = rows.disagrees_at(exits), rows.cost_at(exits, thresholds)
    for row in range(len(rows)):
        branches = 0.0
        for place in range(LAYERS):
            if place == LAYERS - 1:
                break
            branches += rows.branch_cost[row, place] if thresholds[place] > 0 else 0
            if rows.uncertainty[row, place] < np.float32(thresholds[place]):
                break
        assert exits[row] == place
        assert wrong[row] == rows.disagrees[row, place]
        assert cost[row] == pytest.approx(rows.exit_cost[row, place] + branches)
    assert rows.saved_compute(thresholds) == pytest.approx(rows.exit_cost[:, -1].sum() / cost.sum())


def test_full_depth_runs_no_branch():
    rows = population("sensible", num_rows=40)
    assert rows.saved_compute((0.0, 0.0, 0.0)) == 1
    assert (rows.exits_taken((0.0, 0.0, 0.0)) == LAYERS - 1).all()


def test_rows_are_taken_with_all_that_is_theirs():
    rows = population("sensible", num_rows=40)
    some = rows.take(np.array([7, 3]))
    assert isinstance(some, ExitOutcomes)
    calls = {
        f"{kind} {name}": getattr(each, kind) for name, each in rows.calls.items() for kind in vars(each)
    }
    taken = {
        f"{kind} {name}": getattr(each, kind) for name, each in some.calls.items() for kind in vars(each)
    }
    for name, values in ({**vars(some), **taken}).items():
        if name != "calls":
            np.testing.assert_array_equal(values, {**vars(rows), **calls}[name][[7, 3]])


@given(st.sampled_from(KINDS), THRESHOLDS)
def test_without_its_first_exit_all_is_as_if_that_were_closed(kind, thresholds):
    rows = population(kind, num_rows=40)
    fewer, closed = rows.without_first_exit(), (0.0, *thresholds[1:])
    exits = fewer.exits_taken(thresholds[1:])
    np.testing.assert_array_equal(exits + 1, rows.exits_taken(closed))
    np.testing.assert_allclose(fewer.cost_at(exits, thresholds[1:]), rows.cost_at(exits + 1, closed))
    np.testing.assert_array_equal(fewer.disagrees_at(exits), rows.disagrees_at(exits + 1))
