import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from model.guarantee.disagreement_probability import fit_disagreement_probability


def test_finds_the_curve_that_disagreements_were_drawn_from():
    rng = np.random.default_rng(0)
    uncertainty = rng.random(50_000).astype(np.float32)
    true = expit(-3 + 1.5 * np.log(uncertainty))
    found = fit_disagreement_probability(uncertainty, rng.random(len(true)) < true)
    np.testing.assert_allclose(found, true, atol=0.003)


ROWS = st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), max_size=40)


@given(ROWS)
def test_is_a_probability_for_any_rows(rows):
    uncertainty = np.array([row[0] for row in rows], dtype=np.float32)
    found = fit_disagreement_probability(uncertainty, np.array([row[1] for row in rows], dtype=bool))
    assert found.shape == (len(rows),)
    assert ((found >= 0) & (found <= 1)).all()


@given(ROWS.filter(lambda rows: {row[1] for row in rows} == {True, False}))
def test_expects_as_many_disagreements_as_there_were(rows):
    disagrees = np.array([row[1] for row in rows])
    found = fit_disagreement_probability(np.array([row[0] for row in rows], dtype=np.float32), disagrees)
    assert found.sum() == pytest.approx(disagrees.sum(), abs=1e-3)


@pytest.mark.parametrize("num_disagreements", [1, 2, 10])
def test_a_rare_rate_is_not_pulled_towards_one_in_two(num_disagreements):
    """A ridge on the intercept would expect 2.8 disagreements where there were 2."""
    rng = np.random.default_rng(3)
    uncertainty = rng.random(5000).astype(np.float32)
    disagrees = np.zeros(5000, dtype=bool)
    disagrees[np.argsort(uncertainty)[-300:][:num_disagreements]] = True
    found = fit_disagreement_probability(uncertainty, disagrees)
    assert found.sum() == pytest.approx(num_disagreements, rel=1e-4)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.booleans())
def test_rows_of_one_kind_say_nothing_of_uncertainty(uncertainty, disagree):
    disagrees = np.full(len(uncertainty), disagree)
    found = fit_disagreement_probability(np.array(uncertainty, dtype=np.float32), disagrees)
    assert len(set(found.tolist())) == 1
    assert 0 < abs(found.sum() - disagrees.sum()) <= 0.5


def test_is_monotone():
    uncertainty = np.linspace(0, 1, 200, dtype=np.float32)
    found = fit_disagreement_probability(uncertainty, uncertainty > 0.7)
    assert (np.diff(found) >= 0).all()
    assert found[0] < 0.01
    assert found[-1] > 0.9
