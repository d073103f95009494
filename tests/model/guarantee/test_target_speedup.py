import numpy as np
import pytest

from model.errors import ParameterError
from model.guarantee.target_speedup import SpeedupPath, highest_saved_compute
from tests.model.exit_populations import population


@pytest.mark.parametrize("kind", ["sensible", "useless", "overconfident"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_hits_the_speed_up_on_fresh_rows(kind, share):
    rows, fresh = population(kind, num_rows=4000), population(kind, num_rows=20_000, seed=1)
    target = 1 + share * (highest_saved_compute(rows) - 1)
    thresholds = SpeedupPath(rows.take(slice(0, None, 2))).thresholds_for(target, rows)
    assert rows.saved_compute(thresholds) == pytest.approx(target, rel=0.02)
    assert fresh.saved_compute(thresholds) == pytest.approx(target, rel=0.05)


def test_perfect_exits_are_not_faster_than_was_asked_for():
    rows = population("perfect", num_rows=4000)
    thresholds = SpeedupPath(rows).thresholds_for(2.0, rows)
    assert rows.saved_compute(thresholds) == pytest.approx(2.0, rel=0.05)


def test_1_is_full_depth():
    rows = population("sensible", num_rows=100)
    assert not SpeedupPath(rows).thresholds_for(1.0, rows).any()


def test_the_highest_is_leaving_at_the_first_exit():
    rows = population("sensible", num_rows=100)
    highest = highest_saved_compute(rows)
    assert highest == pytest.approx(
        rows.exit_cost[:, -1].sum() / (rows.exit_cost[:, 0] + rows.branch_cost[:, 0]).sum()
    )
    assert (rows.exits_taken(SpeedupPath(rows).thresholds_for(highest, rows)) == 0).all()


@pytest.mark.parametrize("target", [0.99, 0, -1, float("nan")])
def test_slower_than_full_depth_is_refused(target):
    rows = population("sensible", num_rows=100)
    with pytest.raises(ParameterError, match=r"`target_speedup` .* is below 1, which is full depth"):
        SpeedupPath(rows).thresholds_for(target, rows)


def test_faster_than_the_first_exit_is_refused():
    rows = population("sensible", num_rows=100)
    with pytest.raises(ParameterError, match=r"`target_speedup` 50 is out of reach: .* gives 3\.7"):
        SpeedupPath(rows).thresholds_for(50, rows)


def test_few_wrong_answers_for_the_speed():
    rows = population("sensible", num_rows=4000)
    target = 2.0
    found = SpeedupPath(rows).thresholds_for(target, rows)
    wrong = rows.disagrees_at(rows.exits_taken(found)).mean()
    # The paper's single threshold of the same speed-up.
    singles = [np.full(3, value, dtype=np.float32) for value in np.linspace(0, 1, 400)]
    single = min(singles, key=lambda each: abs(rows.saved_compute(each) - target))
    assert wrong <= rows.disagrees_at(rows.exits_taken(single)).mean() + 0.002
