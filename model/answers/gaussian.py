"""How unlikely a score is to a value and a variance: what a branch of scores is trained by."""

from torch import Tensor


def gaussian_loss(logits: Tensor, score: Tensor) -> Tensor:
    """Return how unlikely a score is where a value and a variance are expected, (...), in nats.

    But for the constant log(2 pi) / 2 of the normal density. Least where they are the score's mean and
    variance, however it is distributed.

    Args:
        logits: (..., 2) the value, and the logarithm of the variance.
        score: (...).
    """
    log_variance = logits[..., 1]
    return (log_variance + (score - logits[..., 0]) ** 2 / log_variance.exp()) / 2
