"""How far an exit's confidence can be believed, and one number per exit to mend it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar

from model.answers.answer import Answer

# Temperatures beyond are those of exits that know nothing, or all.
_LOG_RANGE = (-3.0, 3.0)
_BINS = 15

Floats = npt.NDArray[np.float32]


def fit_temperature(logits: Floats, teacher_logits: Floats, answer: Answer) -> float:
    """Return the temperature at which an exit gives the teacher's answers the highest likelihood.

    Of labels it is the T of softmax(logits / T) (Guo et al. 2017); `Answer.loss` says it of others.

    Args:
        logits: (rows, num_outputs) of the exit.
        teacher_logits: (rows, num_labels).
        answer: what is compared.

    Returns:
        Between 0.05 and 20.
    """
    exact = torch.from_numpy(logits).double()
    full_depth = torch.from_numpy(teacher_logits).double()

    def loss(log_temperature: float) -> float:
        return float(answer.loss(exact, full_depth, float(np.exp(log_temperature))))

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))


def exit_uncertainty(logits: Floats, temperatures: tuple[float, ...], answer: Answer) -> Floats:
    """Return every exit's uncertainty as the layer sweep computes it, (rows, num_exits) float32.

    Args:
        logits: (rows, num_exits, num_outputs).
        temperatures: (num_exits - 1,) of the branches; the last layer has 1.
        answer: what an exit may be unsure of.
    """
    scales = torch.tensor([*temperatures, 1.0], dtype=torch.float32)
    uncertainty: Floats = answer.uncertainty(torch.from_numpy(logits), scales).numpy()
    return uncertainty


def fit_exits(
    logits: Floats, teacher_logits: Floats, answer: Answer, *, is_search: npt.NDArray[np.bool_]
) -> tuple[tuple[float, ...], Floats]:
    """Return every branch's temperature, (num_exits - 1,), and every exit's uncertainty with it.

    Args:
        logits: (rows, num_exits, num_outputs).
        teacher_logits: (rows, num_labels).
        answer: what is compared.
        is_search: (rows,) what temperatures are fitted on.
    """
    searched = logits[is_search], teacher_logits[is_search]
    temperatures = tuple(
        fit_temperature(searched[0][:, place], searched[1], answer) for place in range(logits.shape[1] - 1)
    )
    return temperatures, exit_uncertainty(logits, temperatures, answer)


def expected_calibration_error(confidence: Floats, is_right: npt.NDArray[np.bool_]) -> float:
    """Return by how much confidence and share of right answers differ, on average over rows.

    Args:
        confidence: (rows,) how likely each answer is the teacher's, in [0, 1].
        is_right: (rows,) whether it is.

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
        agreement: share of rows with the teacher's answer.
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
    logits: Floats, teacher_logits: Floats, answer: Answer, *, exit_layer: int, temperature: float
) -> ExitReliability:
    """Return an exit's agreement and calibration error.

    Args:
        logits: (rows, num_outputs) of one exit.
        teacher_logits: (rows, num_labels).
        answer: what is compared.
        exit_layer: of the exit, from 1; 0 for the lexical branch.
        temperature: of the exit.
    """
    of_exit, full_depth = torch.from_numpy(logits), torch.from_numpy(teacher_logits)
    agrees = ~answer.differs(of_exit, full_depth).numpy()
    before, after = (
        expected_calibration_error(answer.confidence(of_exit, scale).numpy(), agrees)
        for scale in (1.0, temperature)
    )
    return ExitReliability(
        exit_layer=exit_layer,
        agreement=float(agrees.mean()),
        temperature=temperature,
        ece_before=before,
        ece_after=after,
    )
