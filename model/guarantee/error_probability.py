"""How likely an exit is wrong, given how uncertain it is: a curve through few errors."""

import numpy as np
import numpy.typing as npt
from scipy.special import expit

_MAX_STEPS = 30
_LARGEST_STEP = 3.0
# Keeps the curve finite where errors and right answers are parted, or one of them is missing.
_RIDGE = 0.1
_SMALLEST = 1e-6


def error_curve(
    uncertainty: npt.NDArray[np.float32], is_wrong: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return how likely each answer is wrong, by logistic regression on the logarithm of its uncertainty.

    Of 5,000 rows that may have 1 % errors, an exit has some dozens. Thresholds that were put between single
    errors would look better than they are; a curve of two parameters cannot be fitted that closely (as Platt
    1999 does for the scores of classifiers).

    Args:
        uncertainty: (rows,) in [0, 1].
        is_wrong: (rows,).

    Returns:
        (rows,) in [0, 1].
    """
    if not len(uncertainty):
        return np.zeros(0)
    logarithm = np.log(np.maximum(uncertainty.astype(np.float64), _SMALLEST))
    centred = (logarithm - logarithm.mean()) / (logarithm.std() or 1.0)
    inputs = np.stack([np.ones_like(centred), centred], axis=1)
    weights = np.zeros(2)
    for _ in range(_MAX_STEPS):  # Newton's method
        chances = expit(inputs @ weights)
        slope = inputs.T @ (is_wrong - chances) - _RIDGE * weights
        curvature = (inputs * (chances * (1 - chances))[:, None]).T @ inputs + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        length = float(np.abs(step).max())
        weights += step * min(1.0, _LARGEST_STEP / length) if length else 0.0
        if length < 1e-6:
            break
    curve: npt.NDArray[np.float64] = expit(inputs @ weights)
    return curve
