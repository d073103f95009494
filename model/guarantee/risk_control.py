"""A promise about wrong answers, and the thresholds that keep it.

Wrong means: not the teacher's answer. Thresholds are sought on one half of the calibration rows and tested on
the other, from safe to fast, each against the null hypothesis that it breaks the promise. The first one that
might ends the test, and the last one before it is taken: a fixed sequence of tests needs no correction for
their number (Angelopoulos et al. 2021, "Learn then Test"; Laufer-Goldshtein et al. 2023, "Pareto Testing").

What is assumed is that the rows to score are exchangeable with the calibration rows: that both might as well
have been drawn from one pile. Nothing is assumed of the model, of its exits, or of the text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model.checks import check_confidence
from model.errors import ParameterError
from model.guarantee.binomial import p_value, upper_bound
from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.threshold_search import Candidate, candidate_path

DEFAULT_CONFIDENCE = 0.95
# Around the promise, in shares of it, the path of candidates is made dense.
_FOCUS = (0.3, 1.5)


@dataclass(frozen=True, kw_only=True)
class Promise:
    """How many answers may be wrong.

    Attributes:
        max_disagreement: largest share of all rows.
        max_missed: by label id, the largest share of the rows that the teacher gives this label.
        confidence: in how many of many calibrations the promise is kept, at least.
    """

    max_disagreement: float
    max_missed: Mapping[int, float] = field(default_factory=dict)
    confidence: float = DEFAULT_CONFIDENCE

    def __post_init__(self) -> None:
        """Check the shares.

        Raises:
            ParameterError: naming the option and the rule.
        """
        check_confidence(self.confidence)
        for option, share in (
            ("`max_disagreement`", self.max_disagreement),
            *(("`max_missed`", share) for share in self.max_missed.values()),
        ):
            if not 0 < share < 1:
                raise ParameterError(
                    f"{option} {share:g} is not a share above 0 and below 1, as 0.01 for 1 %"
                )

    def p_value(self, is_wrong: npt.NDArray[np.bool_], teacher_labels: npt.NDArray[np.int64]) -> float:
        """Return how likely so few wrong answers are where any part of the promise is broken.

        Args:
            is_wrong: (rows,) of rows that the thresholds were not chosen by.
            teacher_labels: (rows,).

        Returns:
            The largest p-value of all parts: that each of them is rejected at a level rejects at the same
            level that any is broken (Berger 1982, intersection-union).
        """
        parts = [p_value(int(is_wrong.sum()), len(is_wrong), self.max_disagreement)]
        for label, share in self.max_missed.items():
            own = is_wrong[teacher_labels == label]
            parts.append(p_value(int(own.sum()), len(own), share))
        return max(parts)

    def weights(self, teacher_labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return how much of the promise a wrong answer to each row uses up, (rows,), 1 for most rows."""
        weights = np.ones(len(teacher_labels))
        for label, share in self.max_missed.items():
            own = teacher_labels == label
            weights[own] += self.max_disagreement * len(own) / (share * max(int(own.sum()), 1))
        return weights

    def groups(self, teacher_labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return a number for each label that something is promised for, and one for all others, (rows,)."""
        return np.where(np.isin(teacher_labels, list(self.max_missed)), teacher_labels, -1)

    def describe(self, labels: tuple[str, ...]) -> str:
        """Return what is promised, in the words of the command line."""
        missed = "".join(
            f", max missed {labels[label]}={share:g}" for label, share in self.max_missed.items()
        )
        return f"max disagreement {self.max_disagreement:g}{missed}, confidence {self.confidence:g}"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What thresholds did on rows that they were not chosen by.

    Attributes:
        num_rows: of the rows.
        num_wrong: rows with another answer than the teacher's.
        wrong_bound: share of wrong answers that is not exceeded, at `confidence`.
        missed: by label id of the rows that the teacher gives it: wrong ones, all, and their bound.
        confidence: of each bound by itself.
    """

    num_rows: int
    num_wrong: int
    wrong_bound: float
    missed: Mapping[int, tuple[int, int, float]]
    confidence: float

    @classmethod
    def of(
        cls,
        is_wrong: npt.NDArray[np.bool_],
        teacher_labels: npt.NDArray[np.int64],
        *,
        labels: Mapping[int, float] | tuple[int, ...] = (),
        confidence: float,
    ) -> "Evidence":
        """Count wrong answers, (rows,), over all rows and for each of `labels`."""
        missed = {}
        for label in labels:
            own = is_wrong[teacher_labels == label]
            count = int(own.sum())
            missed[label] = (count, len(own), upper_bound(count, len(own), confidence))
        num_wrong = int(is_wrong.sum())
        return cls(
            num_rows=len(is_wrong),
            num_wrong=num_wrong,
            wrong_bound=upper_bound(num_wrong, len(is_wrong), confidence),
            missed=missed,
            confidence=confidence,
        )


def certified(search: ExitOutcomes, test: ExitOutcomes, promise: Promise) -> Candidate | None:
    """Return the fastest thresholds that are certified to keep a promise.

    Args:
        search: rows to find thresholds with.
        test: other rows, to test them.
        promise: what is to be kept.

    Returns:
        None where no threshold can be certified: full depth is left then.
    """
    return last_kept(candidates(search, promise), test, promise)


def last_kept(path: Iterable[Candidate], test: ExitOutcomes, promise: Promise) -> Candidate | None:
    """Return the last candidate before the first that might break a promise, None where that is the first."""
    last = None
    for candidate in path:
        is_wrong = test.is_wrong_at(test.exits(candidate.thresholds))
        if promise.p_value(is_wrong, test.teacher_labels) > 1 - promise.confidence:
            break
        last = candidate
    return last


def candidates(search: ExitOutcomes, promise: Promise) -> list[Candidate]:
    """Return thresholds from safe to fast, in the order in which they are tested."""
    if not len(search):
        return []
    low, high = (share * promise.max_disagreement for share in _FOCUS)
    return candidate_path(
        search,
        promise.weights(search.teacher_labels),
        groups=promise.groups(search.teacher_labels),
        focus=(low, high * (1 + len(promise.max_missed))),
    )
