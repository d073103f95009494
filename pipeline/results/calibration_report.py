"""What is told of a calibration: its exits' reliability, and what each target gives."""

from dataclasses import dataclass

from model.answers.rule import AnswerRule
from model.answers.scaling import Scaling
from model.cost.flops import FlopsModel
from model.cost.latency import RunCost
from model.exits.policy import CalibratedFor
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.temperature_scaling import ExitReliability
from model.guarantee.unit import Unit
from pipeline.results.near_copies import NearCopies

# What the report's tables are made for.
DISAGREEMENTS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05)
SPEEDUPS = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class CertifiedTarget:
    """What one `max_disagreement` gives.

    Attributes:
        max_disagreement: share of answers that may disagree with full depth's.
        is_certified: whether thresholds could be certified; else it is full depth.
        thresholds: (num_layers - 1,) from the first layer on.
        lexical_threshold: of the lexical branch; 0 where it is not run.
        saved_compute: to expect, from the test rows.
        num_disagreements: among the test rows.
        num_rows: that tested it.
        upper_bound: Clopper and Pearson's for their share: exact only where these rows did not choose the
            policy.
    """

    max_disagreement: float
    is_certified: bool
    thresholds: tuple[float, ...]
    lexical_threshold: float
    saved_compute: float
    num_disagreements: int
    num_rows: int
    upper_bound: float


@dataclass(frozen=True, kw_only=True)
class CalibrationReport:
    """What `calibration.json` holds.

    Attributes:
        fingerprint: what it has in common with the rows in `calibration.parquet`.
        labels: label names in the order of the logits.
        rule: which answers are the same.
        num_rows: that searched and that tested.
        unit: what shares are shares of.
        calibrated_for: model, device, precision, backend and length.
        scalings: (num_exits - 1,) one per branch, of the lexical one first where there is one.
        flops: of the model.
        cost: what its parts take here.
        confidence: of the targets below.
        exits: every exit's reliability on the test rows.
        targets: what some values of `max_disagreement` give.
        speed_curve: pairs of saved compute, asked for and found on the test rows.
        near_copies: of texts to train on, among the calibration split's; None where they were not looked for.
    """

    fingerprint: str
    labels: tuple[str, ...]
    rule: AnswerRule
    num_rows: int
    unit: Unit
    calibrated_for: CalibratedFor
    scalings: tuple[Scaling, ...]
    flops: FlopsModel
    cost: RunCost
    confidence: float
    exits: tuple[ExitReliability, ...]
    targets: tuple[CertifiedTarget, ...]
    speed_curve: tuple[tuple[float, float], ...]
    near_copies: NearCopies | None

    @classmethod
    def of(
        cls,
        exits: ExitCalibration,
        *,
        fingerprint: str,
        confidence: float,
        near_copies: NearCopies | None = None,
    ) -> "CalibrationReport":
        """Return what is to be told of a calibration.

        Args:
            exits: from `calibrate`.
            fingerprint: what report and rows have in common.
            confidence: of the targets.
            near_copies: what is known of them.
        """
        return cls(
            fingerprint=fingerprint,
            labels=exits.labels,
            rule=exits.rule,
            num_rows=len(exits),
            unit=exits.unit,
            calibrated_for=exits.calibrated_for,
            scalings=exits.scalings,
            flops=exits.flops,
            cost=exits.cost,
            confidence=confidence,
            exits=tuple(exits.reliability()),
            targets=tuple(_target(exits, share, confidence) for share in DISAGREEMENTS),
            speed_curve=tuple(exits.speed_curve(SPEEDUPS)),
            near_copies=near_copies,
        )


def _target(exits: ExitCalibration, max_disagreement: float, confidence: float) -> CertifiedTarget:
    policy = exits.policy(max_disagreement=max_disagreement, confidence=confidence)
    return CertifiedTarget(
        max_disagreement=max_disagreement,
        is_certified=policy.is_certified,
        thresholds=policy.thresholds,
        lexical_threshold=policy.lexical_threshold,
        saved_compute=policy.saved_compute,
        num_disagreements=policy.risk.num_disagreements,
        num_rows=policy.risk.num_rows,
        upper_bound=policy.risk.upper_bound,
    )
