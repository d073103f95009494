"""Whether a promise is seen to be kept where it is used: the shadow sample against what was certified."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from model.guarantee.binomial import interval, p_value, rows_needed, upper_bound

# So unlikely must a shadow sample be under a promise to contradict it; shared by all parts of the promise.
CONTRADICTION_P = 0.001


class Finding(StrEnum):
    """What a shadow sample says of a promise.

    STANDS: the sample alone shows that the share is no larger, at the promise's confidence.
    CONTRADICTED: so many wrong answers are next to impossible where the promise is kept.
    UNTOLD: neither; so few texts cannot tell.
    NO_PROMISE: nothing was promised, or nothing of what the sample is drawn by.
    """

    STANDS = "stands"
    CONTRADICTED = "contradicted"
    UNTOLD = "untold"
    NO_PROMISE = "no promise"


@dataclass(frozen=True, kw_only=True)
class PartCheck:
    """One part of a promise against the shadow sample.

    Attributes:
        which: texts that it is about, as "" for all or " that full depth calls spam".
        share: of them that may be answered wrongly.
        num_texts: of these in the sample.
        num_wrong: those of them that were answered wrongly.
        low: the share of all such texts is at least this, at the promise's confidence, both sides together.
        high: and at most this.
        finding: what that says.
        texts_needed: about how many such texts would show that the promise stands, wrong answers coming as
            they did; None where no number would, or none is needed.
    """

    which: str
    share: float
    num_texts: int
    num_wrong: int
    low: float
    high: float
    finding: Finding
    texts_needed: int | None


def check_part(
    which: str, *, share: float, num_texts: int, num_wrong: int, confidence: float, num_parts: int
) -> PartCheck:
    """Hold one part of a promise against the shadow sample.

    Args:
        which: texts that it is about.
        share: of them that may be answered wrongly.
        num_texts: of these in the sample.
        num_wrong: those of them that were answered wrongly.
        confidence: of the promise.
        num_parts: of the promise, which are looked at together.

    >>> check = check_part("", share=0.01, num_texts=1000, num_wrong=7, confidence=0.95, num_parts=1)
    >>> check.finding.value, check.texts_needed
    ('untold', 2546)
    >>> [
    ...     check_part("", share=0.01, num_texts=1000, num_wrong=wrong, confidence=0.95, num_parts=1).finding
    ...     for wrong in (4, 30)
    ... ]
    [<Finding.STANDS: 'stands'>, <Finding.CONTRADICTED: 'contradicted'>]
    """
    low, high = interval(num_wrong, num_texts, confidence)
    needed = None
    if num_wrong and 1 - p_value(num_wrong - 1, num_texts, share) < CONTRADICTION_P / num_parts:
        finding = Finding.CONTRADICTED
    elif num_texts and upper_bound(num_wrong, num_texts, confidence) <= share:
        finding = Finding.STANDS
    else:
        finding = Finding.UNTOLD
        needed = rows_needed(share, confidence, error_rate=num_wrong / max(num_texts, 1))
    return PartCheck(
        which=which,
        share=share,
        num_texts=num_texts,
        num_wrong=num_wrong,
        low=low,
        high=high,
        finding=finding,
        texts_needed=needed,
    )


def overall(parts: tuple[PartCheck, ...]) -> Finding:
    """Return what all parts of a promise say together: it stands where each does."""
    findings = {part.finding for part in parts}
    if not parts:
        return Finding.NO_PROMISE
    if Finding.CONTRADICTED in findings:
        return Finding.CONTRADICTED
    return Finding.UNTOLD if Finding.UNTOLD in findings else Finding.STANDS
