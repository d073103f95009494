"""How likely a score lies far from where an exit expects it."""

from torch import Tensor


def chance_beyond(deviations: Tensor) -> Tensor:
    """Return how likely something lies further on one side than so many deviations.

    By Student's t distribution with two degrees of freedom, about 1 / (2 t^2) far away. Many scores are all
    but one of two values: where an exit is sure of one of them to the share p, the mean and the variance that
    it expects put the other at t deviations with 1 - p = 1 / (4 t^2) or so, as much as Cantelli's inequality
    allows, where a normal curve calls one error in a hundred one in a million. What that comes to in saved
    compute is little (docs/performance.md), since thresholds are sought by what exits did.

    Args:
        deviations: (...) 0 or above; infinity is never exceeded.

    Returns:
        (...) in [0, 0.5]; NaN of NaN.

    >>> import torch
    >>> chance_beyond(torch.tensor([0.0, 10.0, torch.inf]))
    tensor([0.5000, 0.0049, 0.0000])
    """
    square = deviations.square() + 2
    # (1 - t / sqrt(2 + t^2)) / 2, without the difference of two numbers that are all but equal.
    chance: Tensor = 1 / (square + deviations * square.sqrt())
    return chance
