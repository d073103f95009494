"""Constraints on disagreements with the full model, and the thresholds that are certified to keep them.

Thresholds are sought on some of the calibration rows and tested on the others, from safe to fast, each
against the null hypothesis that it breaks the constraint. The first one that might ends the test, and the
last one before it is taken: a fixed sequence of tests needs no correction for their number (Angelopoulos et
al. 2021, "Learn then Test"; Laufer-Goldshtein et al. 2023, "Pareto Testing").

What is assumed is that the rows to score are exchangeable with the calibration rows: that both might as well
have been drawn from one pile. Nothing is assumed of the model, of its exits, or of the text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model.checks import DEFAULT_CONFIDENCE, check_confidence
from model.errors import ParameterError
from model.guarantee.binomial import p_value, upper_bound
from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.threshold_search import Candidate, SearchEffort, candidate_path

# Around the constraint, in shares of it, the path of candidates is made dense.
_DENSE_RANGE = (0.3, 1.5)


@dataclass(frozen=True, kw_only=True)
class RiskConstraint:
    """How many answers may disagree with the full model's.

    Attributes:
        max_disagreement: largest share of all rows.
        max_missed: by label id, the largest share of the rows that the teacher gives this label.
        confidence: in how many of many calibrations the constraint is kept, at least.
    """

    max_disagreement: float
    max_missed: Mapping[int, float] = field(default_factory=dict)
    confidence: float = DEFAULT_CONFIDENCE

    def __post_init__(self) -> None:
        """Check the shares.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        check_confidence(self.confidence)
        for name, share in (
            ("max_disagreement", self.max_disagreement),
            *(("max_missed", share) for share in self.max_missed.values()),
        ):
            if not 0 < share < 1:
                raise ParameterError(
                    f"`{name}` {share:g} is not a share above 0 and below 1, as 0.01 for 1 %"
                )

    def p_value(self, disagrees: npt.NDArray[np.bool_], teacher_labels: npt.NDArray[np.int64]) -> float:
        """Return how likely so few disagreements are where any part of the constraint is broken.

        Args:
            disagrees: (rows,) of rows that the thresholds were not chosen by.
            teacher_labels: (rows,).

        Returns:
            The largest p-value of all parts: that each of them is rejected at a level rejects at the same
            level that any is broken (Berger 1982, intersection-union).
        """
        parts = [p_value(int(disagrees.sum()), len(disagrees), self.max_disagreement)]
        for label, share in self.max_missed.items():
            of_label = disagrees[teacher_labels == label]
            parts.append(p_value(int(of_label.sum()), len(of_label), share))
        return max(parts)

    def weights(self, teacher_labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return how much of the constraint a disagreement about each row uses up, (rows,), mostly 1."""
        weights = np.ones(len(teacher_labels))
        for label, share in self.max_missed.items():
            of_label = teacher_labels == label
            weights[of_label] += self.max_disagreement * len(of_label) / (share * max(int(of_label.sum()), 1))
        return weights

    def groups(self, teacher_labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return a number for each label with a constraint of its own, and one for all others, (rows,)."""
        return np.where(np.isin(teacher_labels, list(self.max_missed)), teacher_labels, -1)

    def describe(self, labels: tuple[str, ...]) -> str:
        """Return what may disagree, in the words of the command line."""
        missed = "".join(
            f", max missed {labels[label]}={share:g}" for label, share in self.max_missed.items()
        )
        return f"max disagreement {self.max_disagreement:g}{missed}, confidence {self.confidence:g}"


@dataclass(frozen=True, kw_only=True)
class LabelRisk:
    """What thresholds did on the rows that the teacher gives one label.

    Attributes:
        label: label id.
        max_missed: share of these rows that may get another answer, as it was asked for.
        num_rows: of these rows.
        num_disagreements: those of them with another answer.
        upper_bound: share of disagreements that is not exceeded, at the estimate's confidence.
    """

    label: int
    max_missed: float
    num_rows: int
    num_disagreements: int
    upper_bound: float


@dataclass(frozen=True, kw_only=True)
class RiskEstimate:
    """What thresholds did on rows that they were not chosen by.

    Attributes:
        num_rows: of the rows.
        num_disagreements: rows with another answer than the teacher's.
        upper_bound: share of disagreements that is not exceeded, at `confidence`.
        per_label: the same of labels that something was asked for.
        confidence: of each bound by itself.
    """

    num_rows: int
    num_disagreements: int
    upper_bound: float
    per_label: tuple[LabelRisk, ...]
    confidence: float

    @classmethod
    def from_test_rows(
        cls,
        disagrees: npt.NDArray[np.bool_],
        teacher_labels: npt.NDArray[np.int64],
        *,
        max_missed: Mapping[int, float] | None = None,
        confidence: float,
    ) -> "RiskEstimate":
        """Count disagreements, (rows,), over all rows and for each label of `max_missed`."""

        def bounded(rows: npt.NDArray[np.bool_]) -> tuple[int, float]:
            count = int(rows.sum())
            return count, upper_bound(count, len(rows), confidence)

        per_label = []
        for label, share in (max_missed or {}).items():
            of_label = disagrees[teacher_labels == label]
            count, bound = bounded(of_label)
            per_label.append(
                LabelRisk(
                    label=label,
                    max_missed=share,
                    num_rows=len(of_label),
                    num_disagreements=count,
                    upper_bound=bound,
                )
            )
        count, bound = bounded(disagrees)
        return cls(
            num_rows=len(disagrees),
            num_disagreements=count,
            upper_bound=bound,
            per_label=tuple(per_label),
            confidence=confidence,
        )


def certify(
    search: ExitOutcomes,
    test: ExitOutcomes,
    constraint: RiskConstraint,
    *,
    effort: SearchEffort = SearchEffort(),  # noqa: B008 - frozen
) -> Candidate | None:
    """Return the fastest thresholds that are certified to keep a constraint.

    Args:
        search: rows to find thresholds with.
        test: other rows, to test them.
        constraint: what is to be kept.
        effort: how many thresholds are tried.

    Returns:
        None where no threshold can be certified: full depth is left then.
    """
    return fixed_sequence_test(candidate_thresholds(search, constraint, effort=effort), test, constraint)


def fixed_sequence_test(
    path: Iterable[Candidate], test: ExitOutcomes, constraint: RiskConstraint
) -> Candidate | None:
    """Return the last candidate before the first that might break a constraint, None where none is."""
    last_allowed = None
    for candidate in path:
        disagrees = test.disagrees_at(test.exits_taken(candidate.thresholds))
        if constraint.p_value(disagrees, test.teacher_labels) > 1 - constraint.confidence:
            break
        last_allowed = candidate
    return last_allowed


def candidate_thresholds(
    search: ExitOutcomes,
    constraint: RiskConstraint,
    *,
    effort: SearchEffort = SearchEffort(),  # noqa: B008 - frozen
) -> list[Candidate]:
    """Return thresholds from safe to fast, in the order in which they are tested."""
    if not len(search):
        return []
    low, high = (share * constraint.max_disagreement for share in _DENSE_RANGE)
    return candidate_path(
        search,
        constraint.weights(search.teacher_labels),
        groups=constraint.groups(search.teacher_labels),
        focus=(low, high * (1 + len(constraint.max_missed))),
        effort=effort,
    )
