"""A policy with what it rests on."""

from dataclasses import dataclass

from model.answers.rule import AnswerRule
from model.exits.policy import CalibratedFor, ExitPolicy
from model.guarantee.finite_corpus import CorpusTest
from model.guarantee.policy_reference import PolicyReference
from model.guarantee.risk_control import RiskEstimate
from model.guarantee.unit import Unit


@dataclass(frozen=True, kw_only=True)
class CalibratedPolicy(ExitPolicy):
    """A policy that calibration rows gave, and what is known of it.

    Attributes:
        answer: which answers are the same.
        calibrated_for: model, device, precision, backend and length that it holds for.
        is_certified: whether it is certified to keep what was asked for; full depth, where nothing could be,
            is not.
        saved_compute: to expect, full depth's FLOPs over this policy's, from rows that it was not chosen by.
        risk: what it did on these rows.
        reference: what these rows are like, for the job's to be held against.
        max_disagreement: what was asked for, None where it was something else.
        target_speedup: likewise.
        corpus: what was tested so that `max_disagreement` is of one corpus; None where it is of all texts
            like the calibration's.
        unit: what shares are shares of.
        num_calibration_rows: rows to search and to test with.
        speed_curve: pairs of saved compute, asked for and found on the test rows, where they were computed.
        note: what else there is to say; empty for nothing.
    """

    answer: AnswerRule
    calibrated_for: CalibratedFor
    is_certified: bool
    saved_compute: float
    risk: RiskEstimate
    reference: PolicyReference
    num_calibration_rows: int
    speed_curve: tuple[tuple[float, float], ...] = ()
    max_disagreement: float | None = None
    target_speedup: float | None = None
    corpus: CorpusTest | None = None
    unit: Unit = Unit.TEXTS
    note: str = ""
