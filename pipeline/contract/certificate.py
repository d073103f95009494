"""The certificate: what a job's calibrated policy promises, and what that rests on."""

from collections.abc import Mapping
from dataclasses import dataclass

from model.answers.rule import AnswerRule
from model.answers.scaling import Scaling
from model.exits.policy import CalibratedFor
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.finite_corpus import CorpusTest
from model.guarantee.policy_reference import PolicyReference
from model.guarantee.risk_constraint import Kind
from model.guarantee.risk_control import NameRisk
from model.guarantee.unit import Unit


@dataclass(frozen=True, kw_only=True)
class NameBound:
    """Wrong answers among the test rows that are called something, by the full model or by the policy.

    Attributes:
        name: what they are called: a label, or a cut.
        kind: whether the full model calls them so and the policy may miss it, or the other way round.
        share: of these rows that may be answered wrongly, as it was asked for.
        num_rows: of these rows.
        num_wrong: those of them that were.
        upper_bound: Clopper and Pearson's for their share, at the certificate's confidence: exact only where
            these rows did not choose the policy.
    """

    name: str
    kind: Kind
    share: float
    num_rows: int
    num_wrong: int
    upper_bound: float


@dataclass(frozen=True, kw_only=True)
class CorpusBound:
    """What was tested so that the promise is of the job's own texts; see `model.guarantee.finite_corpus`.

    Attributes:
        num_units: distinct texts, or rows, that were counted before the job.
        is_complete: whether these are all of them; else there are as many at least.
        max_risk: tested in place of `max_disagreement`.
        max_label_risks: likewise of what may be missed, by name.
        confidence: of the test, in place of the certificate's.
    """

    num_units: int
    is_complete: bool
    max_risk: float
    max_label_risks: Mapping[str, float]
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a manifest tells of a calibrated policy.

    Attributes:
        policy: what was asked for.
        answer: which answers are the same.
        thresholds: (num_layers - 1,) from the first layer on.
        scalings: (num_layers - 1,) of the confidence, for the uncertainty.
        lexical_threshold: of the lexical branch; 0 where it is not run.
        lexical_scaling: likewise.
        length_exponent: of the tokens by which the uncertainty is divided before thresholds are held against.
        is_certified: whether that is certified to be kept.
        max_disagreement: share of answers that may disagree with full depth's; None where it was not asked.
        target_speedup: saved compute that was asked for, None likewise.
        corpus: what makes it a promise of this corpus; None where it is of all texts like the calibration's.
        unit: what shares are shares of.
        confidence: of the certificate and of each bound.
        num_rows: test rows, which the thresholds were not chosen by.
        num_disagreements: those of them with another answer than full depth's.
        upper_bound: Clopper and Pearson's for their share: exact only where these rows did not choose the
            policy.
        per_name: the same of labels and cuts that something was asked for.
        saved_compute: to expect, from the test rows.
        num_calibration_rows: rows to search and to test with.
        calibrated_for: model, device, precision, backend and length that it holds for.
        speed_curve: pairs of saved compute, asked for and found on the test rows.
        reference: what the test rows are like.
        note: what else there is to say; empty for nothing.
    """

    policy: str
    answer: AnswerRule
    thresholds: tuple[float, ...]
    scalings: tuple[Scaling, ...]
    lexical_threshold: float
    lexical_scaling: Scaling
    length_exponent: float
    is_certified: bool
    max_disagreement: float | None
    target_speedup: float | None
    corpus: CorpusBound | None
    unit: Unit
    confidence: float
    num_rows: int
    num_disagreements: int
    upper_bound: float
    per_name: tuple[NameBound, ...]
    saved_compute: float
    num_calibration_rows: int
    calibrated_for: CalibratedFor
    speed_curve: tuple[tuple[float, float], ...]
    reference: PolicyReference
    note: str

    @classmethod
    def of(cls, policy: CalibratedPolicy, labels: tuple[str, ...]) -> "Certificate":
        """Return the certificate of a policy for a model of `labels`."""
        risk, names = policy.risk, policy.answer.names(labels)
        return cls(
            policy=policy.name,
            answer=policy.answer,
            thresholds=policy.thresholds,
            scalings=policy.scalings,
            lexical_threshold=policy.lexical_threshold,
            lexical_scaling=policy.lexical_scaling,
            length_exponent=policy.length_exponent,
            is_certified=policy.is_certified,
            max_disagreement=policy.max_disagreement,
            target_speedup=policy.target_speedup,
            corpus=_corpus_bound(policy.corpus, names),
            unit=policy.unit,
            confidence=risk.confidence,
            num_rows=risk.num_rows,
            num_disagreements=risk.num_disagreements,
            upper_bound=risk.upper_bound,
            per_name=tuple(_name_bound(each, names) for each in risk.per_name),
            saved_compute=policy.saved_compute,
            num_calibration_rows=policy.num_calibration_rows,
            calibrated_for=policy.calibrated_for,
            speed_curve=policy.speed_curve,
            reference=policy.reference,
            note=policy.note,
        )


def _name_bound(risk: NameRisk, names: tuple[str, ...]) -> NameBound:
    assert risk.part.name is not None
    return NameBound(
        name=names[risk.part.name],
        kind=risk.part.kind,
        share=risk.part.share,
        num_rows=risk.num_rows,
        num_wrong=risk.num_wrong,
        upper_bound=risk.upper_bound,
    )


def _corpus_bound(corpus: CorpusTest | None, names: tuple[str, ...]) -> CorpusBound | None:
    if corpus is None:
        return None
    return CorpusBound(
        num_units=corpus.size.num_units,
        is_complete=corpus.size.is_complete,
        max_risk=corpus.max_risk,
        max_label_risks={names[name]: risk for name, risk in corpus.max_label_risks},
        confidence=corpus.confidence,
    )
