import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import expit, logit

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


SKEWED = st.tuples(
    st.integers(0, 10_000), st.integers(20, 400), st.floats(0.2, 4), st.floats(0.5, 4), st.floats(-3, 8)
)


# There whole steps of Newton's method ended at a curve that falls.
@example((80, 242, 0.6, 1.3, 7.4))
@given(SKEWED)
def test_no_other_curve_of_its_kind_is_likelier(skewed):
    seed, num_rows, shape, scale, offset = skewed
    rng = np.random.default_rng(seed)
    uncertainty = np.exp(-rng.gamma(shape, scale, num_rows)).clip(1e-6, 1).astype(np.float32)
    logarithm = np.log(uncertainty.astype(np.float64))
    disagrees = rng.random(num_rows) < expit(offset + 2 * logarithm)
    if disagrees.all() or not disagrees.any():
        return
    found = fit_disagreement_probability(uncertainty, disagrees)
    centred = (logarithm - logarithm.mean()) / (logarithm.std() or 1.0)

    def loss(odds, slope):
        return (np.logaddexp(0, odds) - disagrees * odds).sum() + 0.05 * slope**2

    odds = logit(found)
    slope, intercept = np.polyfit(centred, odds, 1)
    for turned, moved in ((1e-2, 0), (-1e-2, 0), (0, 1e-2), (0, -1e-2)):
        other = intercept + moved + (slope + turned) * centred
        assert loss(odds, slope) <= loss(other, slope + turned) + 1e-6


def test_is_monotone():
    uncertainty = np.linspace(0, 1, 200, dtype=np.float32)
    found = fit_disagreement_probability(uncertainty, uncertainty > 0.7)
    assert (np.diff(found) >= 0).all()
    assert found[0] < 0.01
    assert found[-1] > 0.9
