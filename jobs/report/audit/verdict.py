"""Whether the promise stands, and the numbers that are to be seen first."""

from jobs.report.content import Banner, KeyFigure, KeyFigures, Verdict
from jobs.terminal.audit_summary import describe_drift
from model.guarantee.drift import Drift
from model.guarantee.promise_check import Finding
from model.messages import format_ratio
from pipeline.results.audit.report import AuditReport
from pipeline.results.audit.share import Share

_VERDICTS = {
    Finding.STANDS: (Verdict.GOOD, "The promise stands"),
    Finding.CONTRADICTED: (Verdict.BAD, "Contradicted"),
    Finding.UNTOLD: (Verdict.UNKNOWN, "Not contradicted"),
    Finding.NO_PROMISE: (Verdict.UNKNOWN, "No promise"),
}


def banner(report: AuditReport) -> Banner:
    """Return what was promised, what the shadow sample found, and what the one says of the other."""
    verdict, word = _VERDICTS[report.promise.finding]
    sentence = report.promise.verdict
    details = []
    if report.drift:
        told = describe_drift(report.drift)
        details.append(f"{told[:1].upper()}{told[1:]}.")
        if report.drift.verdict is Drift.DRIFTED and verdict is not Verdict.BAD:
            verdict, word = Verdict.BAD, "Other texts"
    return Banner(
        verdict=verdict,
        word=word,
        sentence=f"{sentence[:1].upper()}{sentence[1:]}.",
        details=tuple(details),
    )


def key_figures(report: AuditReport) -> KeyFigures:
    """Return what was saved, how often the answers are full depth's, and how many there are."""
    savings, agreement = report.savings, report.agreement.overall
    expected = "" if savings.expected is None else f"{format_ratio(savings.expected)} expected"
    figures = [
        KeyFigure(value=format_ratio(savings.found), name="saved compute", note=expected),
        _key_share("agreement with full depth", agreement),
        KeyFigure(
            value=f"{savings.mean_exit_layer:.2f}",
            name="mean exit layer",
            note=f"of {report.job.num_layers}",
        ),
        KeyFigure(value=f"{report.job.rows:,}", name="rows", note=f"{report.job.rejected.part:,} rejected"),
    ]
    if report.labelled:
        figures.append(_key_share("accuracy", report.labelled.overall.accuracy))
    return KeyFigures(figures=tuple(figures))


def _key_share(name: str, share: Share) -> KeyFigure:
    if share.value is None:
        return KeyFigure(value="unknown", name=name)
    return KeyFigure(value=f"{share.value:.2%}", name=name, note=f"{share.low:.2%} to {share.high:.2%}")
