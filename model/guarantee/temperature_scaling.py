"""How far an exit's confidence can be believed, and what mends it: one number per exit, or two per label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar

from model.answers.answer import Answer, LabelCuts
from model.answers.scaling import UNSCALED, Scaling
from model.guarantee.label_scaling import fit_label_scaling

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
        return float(answer.loss(exact, full_depth, Scaling.by(float(np.exp(log_temperature)))))

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))


def fit_scaling(logits: Floats, teacher_logits: Floats, answer: Answer) -> Scaling:
    """Return an exit's scaling: of sets of labels a temperature and a bias for each, else one temperature.

    Args:
        logits: (rows, num_outputs) of the exit.
        teacher_logits: (rows, num_labels).
        answer: what is compared.
    """
    temperature = fit_temperature(logits, teacher_logits, answer)
    if not isinstance(answer, LabelCuts) or answer.one_holds:
        return Scaling.by(temperature)
    margins = answer.margins(torch.from_numpy(logits).double()).numpy()
    reached = answer.calls(torch.from_numpy(teacher_logits)).numpy()
    return fit_label_scaling(margins, reached, common_temperature=temperature)


def exit_uncertainty(logits: Floats, scalings: Sequence[Scaling], answer: Answer) -> Floats:
    """Return every exit's uncertainty as the layer sweep computes it, (rows, num_exits) float32.

    Args:
        logits: (rows, num_exits, num_outputs).
        scalings: (num_exits - 1,) of the branches; the last layer has none.
        answer: what an exit may be unsure of.
    """
    of_exits = zip(torch.from_numpy(logits).unbind(dim=1), (*scalings, UNSCALED), strict=True)
    uncertainty: Floats = torch.stack([answer.uncertainty(*each) for each in of_exits], dim=1).numpy()
    return uncertainty


def fit_exits(
    logits: Floats, teacher_logits: Floats, answer: Answer, *, is_search: npt.NDArray[np.bool_]
) -> tuple[tuple[Scaling, ...], Floats]:
    """Return every branch's scaling, (num_exits - 1,), and every exit's uncertainty with it.

    Args:
        logits: (rows, num_exits, num_outputs).
        teacher_logits: (rows, num_labels).
        answer: what is compared.
        is_search: (rows,) what scalings are fitted on.
    """
    searched = logits[is_search], teacher_logits[is_search]
    scalings = tuple(
        fit_scaling(searched[0][:, place], searched[1], answer) for place in range(logits.shape[1] - 1)
    )
    return scalings, exit_uncertainty(logits, scalings, answer)


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
    """How an exit stands to the teacher on rows that its scaling was not fitted on.

    Attributes:
        exit_layer: from 1; 0 for the lexical branch.
        agreement: share of rows with the teacher's answer.
        scaling: of the exit.
        ece_before: expected calibration error without the scaling.
        ece_after: the same with it.
    """

    exit_layer: int
    agreement: float
    scaling: Scaling
    ece_before: float
    ece_after: float


def exit_reliability(
    logits: Floats, teacher_logits: Floats, answer: Answer, *, exit_layer: int, scaling: Scaling
) -> ExitReliability:
    """Return an exit's agreement and calibration error.

    Args:
        logits: (rows, num_outputs) of one exit.
        teacher_logits: (rows, num_labels).
        answer: what is compared.
        exit_layer: of the exit, from 1; 0 for the lexical branch.
        scaling: of the exit.
    """
    of_exit, full_depth = torch.from_numpy(logits), torch.from_numpy(teacher_logits)
    agrees = ~answer.differs(of_exit, full_depth).numpy()
    before, after = (
        expected_calibration_error(answer.confidence(of_exit, each).numpy(), agrees)
        for each in (UNSCALED, scaling)
    )
    return ExitReliability(
        exit_layer=exit_layer,
        agreement=float(agrees.mean()),
        scaling=scaling,
        ece_before=before,
        ece_after=after,
    )
