"""What was promised of a job, what its shadow sample found, and what the one says of the other."""

from __future__ import annotations

from dataclasses import dataclass

from model.checks import DEFAULT_CONFIDENCE
from model.guarantee.promise_check import Finding, PartCheck, check_part, overall
from model.guarantee.risk_constraint import Kind
from model.guarantee.unit import Unit
from model.messages import format_share
from pipeline.contract.certificate import Certificate
from pipeline.contract.manifest import ScoreManifest
from pipeline.results.audit.share import Share
from pipeline.results.shadow_texts import ShadowTexts

# What is counted of a shadow sample.
COUNTED = {
    Unit.TEXTS: "distinct shadow texts",
    Unit.ROWS: "shadow rows",
    Unit.GROUPS: "shadow groups, of each one text,",
}


@dataclass(frozen=True, kw_only=True)
class PromiseReport:
    """A promise and what became of it.

    Attributes:
        finding: what all its parts say together.
        promise: what was promised, in words; what was asked for, where nothing was.
        verdict: what was promised, what was found, and what that says, in a sentence.
        parts: what was promised, share by share; none where there is nothing to hold the sample against.
    """

    finding: Finding
    promise: str
    verdict: str
    parts: tuple[PartCheck, ...]


def check_promise(manifest: ScoreManifest, texts: ShadowTexts, names: tuple[str, ...]) -> PromiseReport:
    """Hold a job's promise against its shadow sample.

    Args:
        manifest: of the job.
        texts: its shadow sample.
        names: what a text may be called.
    """
    certificate, unit = manifest.certificate, manifest.settings.shadow_unit
    found = f"full depth answers {_found(texts, unit)}"
    if certificate is None or not certificate.is_certified or certificate.max_disagreement is None:
        promise = f"nothing was promised ({manifest.settings.policy})"
        return PromiseReport(
            finding=Finding.NO_PROMISE, promise=promise, verdict=f"{promise}; {found}", parts=()
        )
    # "of the texts, one of each group, at 95%".
    of_what = certificate.unit.promised
    promise = (
        f"at most {format_share(certificate.max_disagreement)} {of_what}{',' if ',' in of_what else ''} "
        f"answered otherwise than full depth would, at {format_share(certificate.confidence, 0)}"
    )
    if certificate.unit is not unit:
        instead = "without" if unit is Unit.GROUPS else "with"
        verdict = (
            f"promised: {promise}; {found}; the shadow sample is drawn by {unit}, and tells nothing of a "
            f"promise {of_what}: "
            f"score {instead} --group-column to hold it against one"
        )
        return PromiseReport(finding=Finding.NO_PROMISE, promise=promise, verdict=verdict, parts=())
    parts = _parts(certificate, texts, names)
    finding = overall(parts)
    return PromiseReport(
        finding=finding,
        promise=promise,
        verdict=f"promised: {promise}; {found}; {_said(finding, parts, unit)}",
        parts=parts,
    )


def _found(texts: ShadowTexts, unit: Unit) -> str:
    if not texts.num_texts:
        return "no row of this job besides (its shadow sample is empty)"
    share = Share.of(texts.num_disagreements, texts.num_texts)
    return (
        f"{share.part:,} of {share.whole:,} {COUNTED[unit]} otherwise: {share.value:.2%}, at "
        f"{DEFAULT_CONFIDENCE:.0%} between {share.low:.2%} and {share.high:.2%}"
    )


def _parts(certificate: Certificate, texts: ShadowTexts, names: tuple[str, ...]) -> tuple[PartCheck, ...]:
    assert certificate.max_disagreement is not None
    asked = [("", certificate.max_disagreement, texts.num_texts, texts.num_disagreements)]
    for promise in certificate.per_name:
        place = names.index(promise.name)
        if promise.kind is Kind.MISSED:
            which, of_all, wrong = "full depth calls", texts.by_teacher, texts.missed
        else:
            which, of_all, wrong = "the job calls", texts.called, texts.false
        asked.append((f" that {which} {promise.name}", promise.share, int(of_all[place]), int(wrong[place])))
    return tuple(
        check_part(
            which,
            share=share,
            num_texts=num_texts,
            num_wrong=num_wrong,
            confidence=certificate.confidence,
            num_parts=len(asked),
        )
        for which, share, num_texts, num_wrong in asked
    )


def _said(finding: Finding, parts: tuple[PartCheck, ...], unit: Unit) -> str:
    """Return what the sample says of a promise."""
    if finding is Finding.STANDS:
        return "the promise stands, and the sample alone shows it"
    deciding = [part for part in parts if part.finding is finding]
    if finding is Finding.CONTRADICTED:
        told = "; ".join(
            f"{part.num_wrong:,} of {part.num_texts:,} {COUNTED[unit]}{part.which} disagree, more than "
            f"{format_share(part.share)}"
            for part in deciding
        )
        return (
            f"the certificate does not hold here: {told}; these texts are not like the calibration's: "
            "calibrate with some of them"
        )
    part = deciding[0]
    about = f"{COUNTED[unit].rstrip(',')}{part.which}"
    if part.texts_needed is None:
        return (
            f"nothing contradicts the promise, and so few {about} cannot show it: so far as many disagree as "
            "it allows"
        )
    return (
        f"nothing contradicts the promise, and so few cannot show it: that takes about "
        f"{part.texts_needed:,} {about}"
    )
