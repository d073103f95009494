"""How a classifier does on rows whose answers are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import Tensor

from model.answers.task import Task
from model.training.finetuning.label_quality import LabelQuality, judge_labels, macro_f1
from model.training.finetuning.objective import Objective
from model.training.finetuning.settings import BestBy

# Fewer of the labels that there are than this, and a classifier has collapsed; or of the spread of scores.
_COLLAPSED_LABELS, _COLLAPSED_SPREAD = 0.5, 0.1
_SHOWN_LABELS = 3
# Of more labels a confusion matrix is too large to be read, or written.
_MOST_CONFUSED = 1000
_CURE = "a higher learning rate or more epochs"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A classifier's numbers on some rows; None where its task has no such number.

    Attributes:
        loss: mean over the rows, no class weighted: cross-entropy in nats, of several labels at once its mean
            over the labels; squared error of a regression.
        accuracy: share of the rows that are answered right, with all labels where there are several.
        macro_f1: mean F1 of the labels that the rows hold or are answered with.
        spearman: rank correlation of answers and targets; 0 where all answers are equal.
    """

    loss: float
    accuracy: float | None = None
    macro_f1: float | None = None
    spearman: float | None = None

    def by(self, judge: BestBy) -> float:
        """Return the number that epochs are compared by, of which more is better."""
        found = {
            BestBy.LOSS: -self.loss,
            BestBy.ACCURACY: self.accuracy,
            BestBy.MACRO_F1: self.macro_f1,
            BestBy.SPEARMAN: self.spearman,
        }[judge]
        assert found is not None, "the task has this number"
        return found


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """All that is said of a classifier on some rows.

    Attributes:
        num_rows: how many rows.
        quality: in a few numbers.
        by_label: in the order of the logits; none of a regression.
        confusion: rows by their label (first) and their answer, in the order of the logits; empty unless one
            of several labels is chosen, and of more than 1,000.
        collapse: a line where the classifier has collapsed to few answers; else empty.
    """

    num_rows: int
    quality: Quality
    by_label: tuple[LabelQuality, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    collapse: str = ""


def judge_answers(
    logits: npt.NDArray[np.float32], targets: Tensor, *, task: Task, labels: Sequence[str]
) -> QualityReport:
    """Compare a classifier's answers with what they ought to be.

    Args:
        logits: (rows, num_labels), at least one row.
        targets: of `make_targets`.
        task: the classifier's.
        labels: their names, in the order of the logits.
    """
    loss = float(Objective(task=task).losses(torch.from_numpy(logits), targets).mean())
    if task is Task.SCORE:
        return _judge_scores(logits[:, 0], targets.numpy(), loss)
    confusion: tuple[tuple[int, ...], ...] = ()
    if task is Task.LABEL_SET:
        predicted, true = logits >= 0, targets.numpy() > 0
        is_right = (predicted == true).all(axis=1)
        counts = ((predicted & true).sum(0), true.sum(0), predicted.sum(0))
    else:
        # By the numbers of labels: of very many a row for each would not fit into memory.
        answers, wanted, num_labels = logits.argmax(axis=1), targets.numpy(), len(labels)
        is_right = answers == wanted
        hits, true_rows, answered = (
            np.bincount(each, minlength=num_labels) for each in (wanted[is_right], wanted, answers)
        )
        counts = (hits, true_rows, answered)
        if num_labels <= _MOST_CONFUSED:
            cells = np.bincount(wanted * num_labels + answers, minlength=num_labels**2)
            confusion = tuple(map(tuple, cells.reshape(num_labels, num_labels).tolist()))
    by_label = judge_labels(*counts, labels)
    quality = Quality(loss=loss, accuracy=float(is_right.mean()), macro_f1=macro_f1(by_label))
    return QualityReport(
        num_rows=len(logits),
        quality=quality,
        by_label=by_label,
        confusion=confusion,
        collapse=_collapse(by_label, len(logits)),
    )


def _judge_scores(
    scores: npt.NDArray[np.float32], targets: npt.NDArray[np.float32], loss: float
) -> QualityReport:
    spread, wanted = float(scores.std()), float(targets.std())
    collapse = ""
    if spread < _COLLAPSED_SPREAD * wanted:
        collapse = (
            f"the answers hardly differ: they spread by {spread:.3g} (standard deviation), the targets by "
            f"{wanted:.3g}; {_CURE} may help"
        )
    quality = Quality(loss=loss, spearman=spearman(scores, targets))
    return QualityReport(num_rows=len(scores), quality=quality, collapse=collapse)


def spearman(one: npt.NDArray[np.float32], two: npt.NDArray[np.float32]) -> float:
    """Return the rank correlation of (rows,) numbers, equal ones by their mean rank; 0 where it has none.

    >>> up, down, flat = np.float32([1, 2, 9]), np.float32([6, 5, 0]), np.float32([1, 1, 1])
    >>> round(spearman(up, up), 6), round(spearman(up, down), 6), spearman(up, flat)
    (1.0, -1.0, 0.0)
    """
    if len(one) < 2 or one.min() == one.max() or two.min() == two.max():
        return 0.0
    return float(np.corrcoef(rankdata(one), rankdata(two))[0, 1])


def _collapse(by_label: Sequence[LabelQuality], num_rows: int) -> str:
    """Return a line where at most half of the labels that the rows hold are answered with at all."""
    held = [each for each in by_label if each.num_true]
    answered = [each for each in held if each.num_predicted]
    if len(held) < 2 or len(answered) > _COLLAPSED_LABELS * len(held):
        return ""
    most = sorted(answered, key=lambda each: -each.num_predicted)[:_SHOWN_LABELS]
    shares = ", ".join(f"{each.label!r} to {each.num_predicted / num_rows:.1%} of the rows" for each in most)
    return (
        f"the classifier answers with {len(answered)} of the {len(held)} labels that the rows hold"
        f"{': ' if shares else ''}{shares}; {_CURE}, or balanced class weights, may help"
    )
