"""Normalised entropy, the uncertainty that decides where a text leaves."""

import math

import torch
from torch import Tensor


def normalised_entropy(logits: Tensor) -> Tensor:
    """Return the entropy of softmax(logits) as a share of the largest possible, log N.

    Computed from the log-softmax in float32, so that p log p is 0 at p = 0 and no exponential overflows
    (Liu et al. 2020, equation 7).

    Args:
        logits: (..., num_labels), any floating dtype, num_labels >= 2.

    Returns:
        (...) float32 in [0, 1]: 0 for a certain answer, 1 for a uniform one.

    >>> normalised_entropy(torch.tensor([[0.0, 0.0], [1000.0, 0.0]]))
    tensor([1., 0.])
    """
    log_probabilities = logits.float().log_softmax(dim=-1)
    # xlogy-like: exp(-inf) * -inf would be NaN, and a label of probability 0 adds nothing.
    terms = log_probabilities.exp() * log_probabilities.clamp(min=torch.finfo(torch.float32).min)
    entropy = (-terms).sum(dim=-1) / math.log(logits.shape[-1])
    return entropy.clamp(0.0, 1.0)
