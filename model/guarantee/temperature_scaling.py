"""How far an exit's probabilities can be believed, and one number an exit to mend them."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

# Temperatures beyond are those of exits that know nothing, or all.
_LOG_RANGE = (-3.0, 3.0)
_BINS = 15

Floats = npt.NDArray[np.float32]
LabelIds = npt.NDArray[np.int64]


def fit_temperature(logits: Floats, labels: LabelIds) -> float:
    """Return the T for which softmax(logits / T) gives `labels` the highest likelihood (Guo et al. 2017).

    Args:
        logits: (rows, num_labels).
        labels: (rows,) what the teacher answers.

    Returns:
        Between 0.05 and 20.
    """
    rows = np.arange(len(labels))
    exact = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(exact * np.exp(-log_temperature), axis=1)
        return -float(scaled[rows, labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))


def expected_calibration_error(confidence: Floats, is_right: npt.NDArray[np.bool_]) -> float:
    """Return by how much confidence and share of right answers differ, on average over rows.

    Args:
        confidence: (rows,) the highest probability of each row, in [0, 1].
        is_right: (rows,) whether its label is the teacher's.

    Returns:
        The mean over 15 equal bins of confidence, weighted by their rows (Guo et al. 2017, equation 3).
    """
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence.astype(np.float64) - is_right, minlength=_BINS)
    return float(np.abs(gaps).sum() / max(len(confidence), 1))
