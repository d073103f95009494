"""How likely an exit disagrees with the teacher, given how uncertain it is: a curve through few errors."""

import numpy as np
import numpy.typing as npt
from scipy.special import expit

_MAX_STEPS, _MAX_HALVINGS = 50, 40
# Keeps the slope finite where disagreements and agreements are parted. The intercept is not penalised: that
# would pull a rare disagreement towards one in two.
_RIDGE = np.diag([0.0, 0.1])
# Stands for half a row of each kind where one of them is missing and no intercept would be finite.
_MISSING_ROWS = 0.5
_EPSILON = 1e-6


def fit_disagreement_probability(
    uncertainty: npt.NDArray[np.float32], disagrees: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return how likely each answer disagrees, by logistic regression on the logarithm of its uncertainty.

    Of 5,000 rows with 1 % disagreements, an exit has some dozens. Thresholds that were put between single
    ones would look better than they are; a curve of two parameters cannot be fitted that closely (as Platt
    1999 does for the scores of classifiers).

    Args:
        uncertainty: (rows,) in [0, 1].
        disagrees: (rows,).

    Returns:
        (rows,) in [0, 1].
    """
    if not len(uncertainty):
        return np.zeros(0)
    num_disagreements = int(disagrees.sum())
    if num_disagreements in (0, len(disagrees)):
        # No slope is to be learnt from one kind of rows.
        share = (num_disagreements + _MISSING_ROWS) / (len(disagrees) + 2 * _MISSING_ROWS)
        return np.full(len(disagrees), share)
    logarithm = np.log(np.maximum(uncertainty.astype(np.float64), _EPSILON))
    centred = (logarithm - logarithm.mean()) / (logarithm.std() or 1.0)
    inputs = np.stack([np.ones_like(centred), centred], axis=1)
    share = num_disagreements / len(disagrees)
    weights = _fitted(inputs, disagrees, np.array([np.log(share / (1 - share)), 0.0]))
    curve: npt.NDArray[np.float64] = expit(inputs @ weights)
    return curve


def _fitted(
    inputs: npt.NDArray[np.float64], disagrees: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the weights of the least loss, by Newton's method from some weights on.

    A step is halved until the loss falls: it is convex, but where rows of one kind are rare and far out,
    whole steps lead away from its minimum, as far as to a curve that falls with the uncertainty.
    """
    loss = _loss(inputs, disagrees, weights)
    for _ in range(_MAX_STEPS):
        probability = expit(inputs @ weights)
        gradient = inputs.T @ (disagrees - probability) - _RIDGE @ weights
        hessian = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + _RIDGE
        step = np.linalg.solve(hessian, gradient)
        if np.abs(step).max() < _EPSILON:
            break
        for _ in range(_MAX_HALVINGS):
            if (further := _loss(inputs, disagrees, weights + step)) < loss:
                break
            step /= 2
        else:
            break
        weights, loss = weights + step, further
    return weights


def _loss(
    inputs: npt.NDArray[np.float64], disagrees: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]
) -> float:
    """Return how unlikely the rows are, in nats, the ridge counted."""
    odds = inputs @ weights
    return float((np.logaddexp(0, odds) - disagrees * odds).sum() + weights @ _RIDGE @ weights / 2)
