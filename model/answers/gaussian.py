"""How far a value and a variance are from a score: what a branch of scores is trained by."""

import math

import torch
from scipy.special import wrightomega
from torch import Tensor

# Of the two rules; chosen by measurement (docs/performance.md).
_CRPS_WEIGHT = 4.0


def score_loss(logits: Tensor, score: Tensor) -> Tensor:
    """Return how far a score is from what is expected, (...).

    The sum of two proper scoring rules. By likelihood alone a few scores that are far off pull the value
    away from all others'; the ranked probability does not let them, but alone it takes a value that is
    right more often than not for certain: where scores are all but one of a few, it knows no chances.

    Args:
        logits: (..., 2) the value, and the logarithm of the variance.
        score: (...).
    """
    return gaussian_nll(logits, score) + _CRPS_WEIGHT * gaussian_crps(logits, score)


def spread_at(loss: float) -> float:
    """Return the standard deviation at which who knows it, and errs by it everywhere, has a mean loss.

    >>> round(spread_at(math.log(0.3) + 1 / 2 + _CRPS_WEIGHT * 0.3 / math.sqrt(math.pi)), 6)
    0.3
    """
    slope = _CRPS_WEIGHT / math.sqrt(math.pi)
    # Of s = spread: log(s) + 1/2 + slope * s = loss.
    return float(wrightomega(math.log(slope) + loss - 1 / 2)) / slope


def gaussian_nll(logits: Tensor, score: Tensor) -> Tensor:
    """Return how unlikely a score is where a value and a variance are expected, (...), in nats.

    But for the constant log(2 pi) / 2 of the normal density. Least where they are the score's mean and
    variance, however it is distributed.

    Args:
        logits: (..., 2) the value, and the logarithm of the variance.
        score: (...).
    """
    log_variance = logits[..., 1]
    return (log_variance + (score - logits[..., 0]) ** 2 / log_variance.exp()) / 2


def gaussian_crps(logits: Tensor, score: Tensor) -> Tensor:
    """Return the continuous ranked probability score of a normal distribution, (...), in units of the score.

    The integral, over all cuts, of the squared error of the chance to be below (Gneiting and Raftery 2007,
    section 4.2): that of a value alone would be its absolute error.

    Args:
        logits: (..., 2) the value, and the logarithm of the variance.
        score: (...).
    """
    deviation = (logits[..., 1] / 2).exp()
    error = score - logits[..., 0]
    scaled = error / deviation
    density = (-scaled.square() / 2).exp() / math.sqrt(2 * math.pi)
    sureness: Tensor = 2 * torch.special.ndtr(scaled) - 1
    return error * sureness + deviation * (2 * density - 1 / math.sqrt(math.pi))
