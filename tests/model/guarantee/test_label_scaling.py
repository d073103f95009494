import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from model.guarantee.label_scaling import fit_label_scaling

TEMPERATURES, BIASES = (0.5, 1.0, 2.5), (1.0, 0.0, -2.0)


def drawn(rows, seed=0):
    """Margins of three labels, and which labels are reached, with probabilities by those numbers."""
    rng = np.random.default_rng(seed)
    margins = rng.normal(0, 3, (rows, 3))
    return margins, rng.random((rows, 3)) < expit(margins / TEMPERATURES + BIASES)


def test_finds_the_numbers_that_labels_were_drawn_by():
    found = fit_label_scaling(*drawn(40_000), common_temperature=1.0)
    np.testing.assert_allclose(found.temperatures, TEMPERATURES, rtol=0.06)
    np.testing.assert_allclose(found.biases, BIASES, atol=0.1)


def penalised_loss(margins, reached, temperature, bias, common_temperature):
    probability = expit(np.where(reached, 1, -1) * (margins / temperature + bias))
    return (
        -np.log(probability).sum()
        + math.log(temperature / common_temperature) ** 2 / 2 / 0.5**2
        + (bias**2 / 2 / 1.0**2)
    )


@given(st.integers(0, 1000), st.sampled_from([0.3, 1.0, 4.0]), st.integers(1, 100))
def test_nothing_beside_what_is_found_is_likelier(seed, common_temperature, rows):
    margins, reached = drawn(rows, seed)
    found = fit_label_scaling(margins, reached, common_temperature=common_temperature)
    for label, (temperature, bias) in enumerate(zip(found.temperatures, found.biases, strict=True)):
        of_label = margins[:, label], reached[:, label]
        least = penalised_loss(*of_label, temperature, bias, common_temperature)
        for factor, further in ((1.05, 0), (1 / 1.05, 0), (1, 0.05), (1, -0.05)):
            beside = penalised_loss(*of_label, temperature * factor, bias + further, common_temperature)
            assert beside > least - 1e-6


def test_a_label_of_which_nothing_is_learnt_has_the_common_temperature_and_no_bias():
    none = fit_label_scaling(np.zeros((0, 2)), np.zeros((0, 2), dtype=bool), common_temperature=1.7)
    assert none.temperatures == (1.7, 1.7)
    assert none.biases == (0.0, 0.0)
    # All that its rows say is expected already.
    sure = fit_label_scaling(np.full((50, 1), -40.0), np.zeros((50, 1), dtype=bool), common_temperature=1.7)
    assert sure.temperatures == pytest.approx((1.7,), rel=1e-3)
    assert sure.biases == pytest.approx((0.0,), abs=1e-3)


@given(
    st.integers(0, 1000),
    st.sampled_from([0.0, 0.01, 1.0, 500.0]),
    st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    st.sampled_from([0.05, 1.0, 20.0]),
)
def test_whatever_the_rows_it_is_finite(seed, size, share, common_temperature):
    rng = np.random.default_rng(seed)
    margins, reached = size * rng.normal(size=(12, 2)), rng.random((12, 2)) < share
    # Of the second label the exit knows nothing but the opposite.
    margins[:, 1] = np.where(reached[:, 1], -1, 1) * np.abs(margins[:, 1])
    found = fit_label_scaling(margins, reached, common_temperature=common_temperature)
    assert all(0 < each < math.inf for each in found.temperatures)
    assert np.isfinite(found.biases).all()


@pytest.mark.parametrize("reached", [True, False])
def test_a_label_that_is_always_reached_or_never_leans_that_way_and_no_further(reached):
    margins = np.random.default_rng(0).normal(0, 2, (2000, 1))
    found = fit_label_scaling(margins, np.full((2000, 1), reached), common_temperature=1.0)
    assert 1 < (found.biases[0] if reached else -found.biases[0]) < 20
    assert 0.3 < found.temperatures[0] < 20


def test_labels_do_not_know_of_each_other():
    margins, reached = drawn(300)
    together = fit_label_scaling(margins, reached, common_temperature=1.0)
    for label in range(3):
        alone = fit_label_scaling(margins[:, [label]], reached[:, [label]], common_temperature=1.0)
        assert alone.temperatures[0] == pytest.approx(together.temperatures[label], rel=1e-4)
        assert alone.biases[0] == pytest.approx(together.biases[label], abs=1e-4)
