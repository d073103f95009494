import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from model.answers.gaussian import gaussian_loss


def test_a_gaussian_loss_is_that_density_but_for_its_constant():
    logits, score = np.array([0.3, -1.2]), 1.7
    density = -norm(0.3, math.exp(-0.6)).logpdf(score) - math.log(2 * math.pi) / 2
    found = gaussian_loss(torch.from_numpy(logits), torch.tensor(score, dtype=torch.float64))
    assert float(found) == pytest.approx(density)
