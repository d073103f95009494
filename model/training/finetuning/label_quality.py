"""How a classifier does on each of its labels, from counts of rows. Light: nothing here imports torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class LabelQuality:
    """How a classifier does on one label.

    Attributes:
        label: its name.
        precision: share of the rows answered with it that have it; 0 without any.
        recall: share of the rows that have it that are answered with it; 0 without any.
        f1: their harmonic mean.
        num_true: rows that have it.
        num_predicted: rows that are answered with it.
    """

    label: str
    precision: float
    recall: float
    f1: float
    num_true: int
    num_predicted: int


def judge_labels(
    hits: npt.NDArray[np.int64],
    num_true: npt.NDArray[np.int64],
    num_predicted: npt.NDArray[np.int64],
    labels: Sequence[str],
) -> tuple[LabelQuality, ...]:
    """Judge each label by (num_labels,) rows.

    Args:
        hits: that have the label and are answered with it.
        num_true: that have it.
        num_predicted: that are answered with it.
        labels: their names.
    """
    return tuple(
        LabelQuality(
            label=label,
            precision=float(hit / max(answered, 1)),
            recall=float(hit / max(wanted, 1)),
            f1=float(2 * hit / max(answered + wanted, 1)),
            num_true=int(wanted),
            num_predicted=int(answered),
        )
        for label, hit, answered, wanted in zip(labels, hits, num_predicted, num_true, strict=True)
    )


def macro_f1(by_label: Sequence[LabelQuality]) -> float:
    """Return the mean F1 of the labels that the rows hold, or are answered with; 0 of none."""
    met = [each.f1 for each in by_label if each.num_true or each.num_predicted]
    return float(np.mean(met)) if met else 0.0
