import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from model.guarantee.error_probability import error_curve


def test_finds_the_curve_that_errors_were_drawn_from():
    rng = np.random.default_rng(0)
    uncertainty = rng.random(50_000).astype(np.float32)
    true = expit(-3 + 1.5 * np.log(uncertainty))
    found = error_curve(uncertainty, rng.random(len(true)) < true)
    np.testing.assert_allclose(found, true, atol=0.003)


ROWS = st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), max_size=40)


@given(ROWS)
def test_is_a_chance_for_any_rows(rows):
    uncertainty = np.array([row[0] for row in rows], dtype=np.float32)
    found = error_curve(uncertainty, np.array([row[1] for row in rows], dtype=bool))
    assert found.shape == (len(rows),)
    assert ((found >= 0) & (found <= 1)).all()


@given(ROWS.filter(lambda rows: len(rows) > 0))
def test_expects_about_as_many_errors_as_there_were(rows):
    is_wrong = np.array([row[1] for row in rows])
    found = error_curve(np.array([row[0] for row in rows], dtype=np.float32), is_wrong)
    assert found.sum() == pytest.approx(is_wrong.sum(), abs=1.0)


def test_is_monotone():
    uncertainty = np.linspace(0, 1, 200, dtype=np.float32)
    found = error_curve(uncertainty, uncertainty > 0.7)
    assert (np.diff(found) >= 0).all()
    assert found[0] < 0.01
    assert found[-1] > 0.9
