"""How far an exit's probabilities can be believed, and one number per exit to mend them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

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


@dataclass(frozen=True, kw_only=True)
class ExitReliability:
    """How an exit stands to the teacher on rows that its temperature was not fitted on.

    Attributes:
        exit_layer: from 1; 0 for the lexical branch.
        agreement: share of rows with the teacher's label.
        temperature: of the exit.
        ece_before: expected calibration error without the temperature.
        ece_after: the same with it.
    """

    exit_layer: int
    agreement: float
    temperature: float
    ece_before: float
    ece_after: float


def exit_reliability(
    logits: Floats, labels: LabelIds, *, exit_layer: int, temperature: float
) -> ExitReliability:
    """Return an exit's agreement and calibration error.

    Args:
        logits: (rows, num_labels) of one exit.
        labels: (rows,) what the teacher answers.
        exit_layer: of the exit, from 1; 0 for the lexical branch.
        temperature: of the exit.
    """
    agrees = logits.argmax(axis=1) == labels
    before, after = (
        expected_calibration_error(softmax(logits / np.float32(scale), axis=1).max(axis=1), agrees)
        for scale in (1.0, temperature)
    )
    return ExitReliability(
        exit_layer=exit_layer,
        agreement=float(agrees.mean()),
        temperature=temperature,
        ece_before=before,
        ece_after=after,
    )
