import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from model.answers.uncertainty import normalised_entropy

MANY_LOGITS = nps.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(2, 160)),
    elements=st.floats(-60, 60, width=32),
)
# Huge ones, and the infinities that a label which cannot be has.
WILD_LOGITS = nps.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(2, 20)),
    elements=st.floats(float(np.float32(-3e38)), float(np.float32(3e38)), width=32) | st.just(-math.inf),
).filter(lambda logits: np.isfinite(logits).any(axis=1).all())


@given(MANY_LOGITS)
def test_equals_the_formula_in_float64(logits):
    shares = np.exp(logits.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    expected = (shares * np.log(shares)).sum(axis=1) / np.log(1 / logits.shape[1])
    np.testing.assert_allclose(normalised_entropy(torch.from_numpy(logits)), expected, rtol=1e-4, atol=1e-5)


@given(WILD_LOGITS)
def test_is_between_0_and_1_and_never_minus_0(logits):
    uncertainty = normalised_entropy(torch.from_numpy(logits))
    assert uncertainty.shape == (len(logits),)
    assert uncertainty.dtype is torch.float32
    assert ((uncertainty >= 0) & (uncertainty <= 1)).all()  # a NaN is neither
    assert not torch.signbit(uncertainty).any()


@pytest.mark.parametrize("num_labels", [2, 3, 77, 150])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_certain_answer_is_0_and_a_uniform_one_1(num_labels, dtype):
    certain = torch.zeros(num_labels, dtype=dtype)
    certain[num_labels // 2] = 60000
    assert normalised_entropy(certain).item() == 0
    assert normalised_entropy(torch.full((num_labels,), -7.0, dtype=dtype)).item() == pytest.approx(
        1, abs=1e-6
    )


@given(st.integers(2, 200), st.floats(-200, 200, width=32))
def test_rounding_never_makes_a_uniform_answer_more_than_1(num_labels, logit):
    uncertainty = normalised_entropy(torch.full((num_labels,), logit)).item()
    assert 1 - 1e-6 <= uncertainty <= 1


def test_two_sure_labels_of_four_are_half_uncertain():
    assert normalised_entropy(torch.tensor([500.0, 500.0, 0.0, -math.inf])).item() == pytest.approx(0.5)


@given(MANY_LOGITS, st.floats(-100, 100))
def test_a_shift_of_the_logits_changes_nothing(logits, shift):
    shifted = normalised_entropy(torch.from_numpy(logits) + shift)
    np.testing.assert_allclose(shifted, normalised_entropy(torch.from_numpy(logits)), rtol=0, atol=2e-4)


@given(MANY_LOGITS, st.randoms(use_true_random=False))
def test_the_order_of_the_labels_changes_nothing(logits, random):
    order = list(range(logits.shape[1]))
    random.shuffle(order)
    np.testing.assert_allclose(
        normalised_entropy(torch.from_numpy(logits[:, order])),
        normalised_entropy(torch.from_numpy(logits)),
        rtol=0,
        atol=1e-6,
    )


def test_half_precision_logits_are_computed_with_in_float32():
    logits = torch.tensor([[3.0, 1.5, -2.0]])
    for dtype in (torch.bfloat16, torch.float16):
        torch.testing.assert_close(normalised_entropy(logits.to(dtype)), normalised_entropy(logits))


def test_any_leading_shape():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    uncertainty = normalised_entropy(logits)
    assert uncertainty.shape == (2, 3, 4)
    torch.testing.assert_close(uncertainty[1, 2], normalised_entropy(logits[1, 2]))
