"""How often answers are those of full depth."""

from collections.abc import Sequence

from jobs.report.audit_figures import agreement_figure
from jobs.report.content import Block, Note, Section, Table, figures_of
from model.messages import format_share
from pipeline.results.audit.agreement import Agreement, Part
from pipeline.results.audit.report import AuditReport
from pipeline.results.audit.share import Share


def agreement_section(report: AuditReport) -> Section:
    """Return what the shadow sample says of the promise, and of parts of the rows."""
    return Section(title="Agreement with full depth", blocks=_agreement(report))


def _agreement(report: AuditReport) -> tuple[Block, ...]:
    agreement = report.agreement
    if not agreement.overall.whole:
        return (
            Note(text="The shadow sample is empty: nothing of this job was answered at full depth, too."),
        )
    whole = report.promise.parts[:1]
    promised = 1 - whole[0].share if whole else None
    parts = _parts_by(agreement)
    figures = figures_of(
        agreement_figure(those, by=by, promised=promised)
        for by, those in parts.items()
        if by != "uncertainty"
    )
    note = Note(
        text="Of texts of the shadow sample, drawn by hash and answered at full depth, too. Intervals are "
        "exact (Clopper and Pearson 1934), at 95%."
    )
    return (note, *_promise_table(report), *figures, _parts_table(agreement.overall, parts))


def _parts_by(agreement: Agreement) -> dict[str, Sequence[Part]]:
    return {
        "exit layer": agreement.by_exit,
        "full depth's answer": agreement.by_answer,
        "length": agreement.by_length,
        "uncertainty": agreement.by_uncertainty,
    }


def _promise_table(report: AuditReport) -> tuple[Block, ...]:
    if not report.promise.parts:
        return ()
    rows = tuple(
        (
            f"all{part.which}" if part.which else "all",
            f"at most {format_share(part.share)}",
            f"{part.num_wrong:,} of {part.num_texts:,}",
            f"{part.low:.2%} to {part.high:.2%}",
            part.finding.value,
            f"{part.texts_needed:,}" if part.texts_needed else "-",
        )
        for part in report.promise.parts
    )
    columns = ("texts", "promised", "otherwise", "interval", "the promise", "texts that would show it")
    return (Table(columns=columns, rows=rows, caption="The promise, part by part", text_columns=(0, 4)),)


def _parts_table(overall: Share, parts: dict[str, Sequence[Part]]) -> Table:
    rows = [("all", "", str(overall), f"{overall.whole:,}")]
    rows += [
        (by, part.name, str(part.agreement), f"{part.agreement.whole:,}")
        for by, those in parts.items()
        for part in those
    ]
    return Table(
        columns=("by", "which", "agreement", "texts"),
        rows=tuple(rows),
        caption="Agreement with full depth",
        text_columns=(0, 1),
    )
