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
    exits = rows.exit_layers(thresholds)
    wrong, cost = rows.disagrees_at(exits), rows.cost_at(exits, thresholds)
    for row in range(len(rows)):
        branches = 0
        for layer in range(LAYERS):
            branches += layer < LAYERS - 1 and thresholds[layer] > 0
            if layer == LAYERS - 1 or rows.uncertainty[row, layer] < np.float32(thresholds[layer]):
                break
        assert exits[row] == layer + 1
        assert wrong[row] == rows.disagrees[row, layer]
        assert cost[row] == pytest.approx(rows.layer_cost[row, layer] + branches * rows.branch_cost[row])
    assert rows.saved_compute(thresholds) == pytest.approx(rows.layer_cost[:, -1].sum() / cost.sum())


def test_full_depth_runs_no_branch():
    rows = population("sensible", num_rows=40)
    assert rows.saved_compute((0.0, 0.0, 0.0)) == 1
    assert (rows.exit_layers((0.0, 0.0, 0.0)) == LAYERS).all()


def test_rows_are_taken_with_all_that_is_theirs():
    rows = population("sensible", num_rows=40)
    some = rows.take(np.array([7, 3]))
    assert isinstance(some, ExitOutcomes)
    for name, values in vars(some).items():
        np.testing.assert_array_equal(values, getattr(rows, name)[[7, 3]])
