import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from model.answers.gaussian import gaussian_crps, gaussian_nll, score_loss, spread_at

VALUE = st.floats(-5, 5)
LOG_VARIANCE = st.floats(-6, 4)


def tensors(value: float, log_variance: float, score: float) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.tensor([value, log_variance], dtype=torch.float64, requires_grad=True)
    return logits, torch.tensor(score, dtype=torch.float64)


@given(VALUE, LOG_VARIANCE, VALUE)
def test_the_likelihood_is_that_density_but_for_its_constant(value, log_variance, score):
    density = -norm(value, math.exp(log_variance / 2)).logpdf(score) - math.log(2 * math.pi) / 2
    assert gaussian_nll(*tensors(value, log_variance, score)).item() == pytest.approx(density)


@given(VALUE, LOG_VARIANCE, VALUE)
def test_the_ranked_probability_is_the_squared_error_of_all_cuts(value, log_variance, score):
    below = norm(value, deviation := math.exp(log_variance / 2)).cdf
    ends = sorted((value - 12 * deviation, score, value + 12 * deviation))
    by_hand = sum(
        quad(lambda cut: (below(cut) - (cut >= score)) ** 2, start, end, limit=200)[0]
        for start, end in zip([min(ends[0], score - 12 * deviation), *ends], ends, strict=False)
    )
    assert gaussian_crps(*tensors(value, log_variance, score)).item() == pytest.approx(by_hand, abs=1e-6)


@given(VALUE, LOG_VARIANCE)
def test_the_loss_is_least_where_the_spread_is_known(value, log_variance):
    spread = math.exp(log_variance / 2)
    scores = torch.from_numpy(norm(value, spread).ppf(np.linspace(0.5, 1999.5, 2000) / 2000))
    known = score_loss(tensors(value, log_variance, 0)[0], scores).mean().item()
    assert spread_at(known) == pytest.approx(spread, rel=0.01)
    for off in (-0.2, 0.2):
        for logits, _ in (
            tensors(value + off * spread, log_variance, 0),
            tensors(value, log_variance + off, 0),
        ):
            assert score_loss(logits, scores).mean().item() > known


@pytest.mark.parametrize("log_variance", [-60.0, -20.0, 0.0, 20.0])
@pytest.mark.parametrize("error", [0.0, 1e-20, 3.0, 1e10])
def test_the_loss_can_be_learnt_from_wherever_a_branch_is(error, log_variance):
    logits, score = tensors(0.0, log_variance, error)
    score_loss(logits, score).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[0] < 0) == (error > 0)
