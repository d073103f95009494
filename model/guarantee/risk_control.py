"""Constraints on disagreements with the full model, and the thresholds that are certified to keep them.

Thresholds are sought on some of the calibration rows and tested on the others, from safe to fast, each
against the null hypothesis that it breaks the constraint. The first one that might ends the test, and the
last one before it is taken: a fixed sequence of tests needs no correction for their number (Angelopoulos et
al. 2021, "Learn then Test"; Laufer-Goldshtein et al. 2023, "Pareto Testing").

What is assumed is that the rows to score are exchangeable with the calibration rows: that both might as well
have been drawn from one pile. Nothing is assumed of the model, of its exits, or of the text.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.guarantee.binomial import upper_bound
from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.risk_constraint import ConstraintPart, Kind, RiskConstraint
from model.guarantee.threshold_search import Candidate, SearchEffort, candidate_path

# Around the constraint, in shares of it, the path of candidates is made dense.
_DENSE_RANGE = (0.3, 1.5)


@dataclass(frozen=True, kw_only=True)
class NameRisk:
    """What thresholds did on the rows that one part of a constraint is about.

    Attributes:
        part: of the constraint.
        num_rows: rows that it is about.
        num_wrong: those of them that are answered wrongly.
        upper_bound: share of these that is not exceeded, at the estimate's confidence.
    """

    part: ConstraintPart
    num_rows: int
    num_wrong: int
    upper_bound: float


@dataclass(frozen=True, kw_only=True)
class RiskEstimate:
    """What thresholds did on rows that they were not chosen by.

    Attributes:
        num_rows: of the rows.
        num_disagreements: rows with another answer than the teacher's.
        upper_bound: share of disagreements that is not exceeded, at `confidence`.
        per_name: the same of names that something was asked for.
        confidence: of each bound by itself.
    """

    num_rows: int
    num_disagreements: int
    upper_bound: float
    per_name: tuple[NameRisk, ...]
    confidence: float

    @classmethod
    def from_test_rows(
        cls,
        test: ExitOutcomes,
        exits: npt.NDArray[np.int64],
        *,
        parts: Iterable[ConstraintPart] = (),
        confidence: float,
    ) -> "RiskEstimate":
        """Count wrong answers among all rows and those that each of some parts is about.

        Args:
            test: of the rows.
            exits: (rows,) where they leave.
            parts: of a constraint.
            confidence: of each bound.
        """

        def estimate(part: ConstraintPart) -> NameRisk:
            wrong = part.wrong_of(test, exits)
            count = int(wrong.sum())
            return NameRisk(
                part=part,
                num_rows=len(wrong),
                num_wrong=count,
                upper_bound=upper_bound(count, len(wrong), confidence),
            )

        of_all = estimate(ConstraintPart(kind=Kind.DISAGREEMENT, name=None, share=1.0))
        return cls(
            num_rows=of_all.num_rows,
            num_disagreements=of_all.num_wrong,
            upper_bound=of_all.upper_bound,
            per_name=tuple(estimate(part) for part in parts if part.name is not None),
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
        if constraint.p_value(test, test.exits_taken(candidate.thresholds)) > 1 - constraint.confidence:
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
        constraint.weights(search),
        groups=constraint.groups(search),
        focus=(low, high * len(constraint.parts)),
        effort=effort,
    )
