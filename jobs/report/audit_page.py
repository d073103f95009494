"""The page that `audit` leaves: whether the promise stands, and all that it was judged by."""

from collections.abc import Iterable, Sequence

from jobs.report.audit_figures import (
    agreement_figure,
    comparison_figures,
    confusion_figure,
    drift_figure,
    exits_figure,
    layer_times_figure,
    lengths_figure,
    luha_figure,
    speeds_figures,
    speedup_figure,
    times_figure,
    uncertainty_figure,
    uncertainty_histogram,
)
from jobs.report.content import (
    Banner,
    Block,
    Figure,
    Figures,
    KeyFigure,
    KeyFigures,
    Note,
    Page,
    Section,
    Settings,
    Table,
    Verdict,
)
from jobs.terminal.audit_summary import comparison_rows, describe_drift, describe_times
from model.guarantee.drift import Drift
from model.guarantee.promise_check import Finding
from model.messages import format_ratio
from pipeline.contract.manifest import ScoreManifest
from pipeline.results.audit.agreement import Agreement, Part
from pipeline.results.audit.comparison import ChangedRow, Comparison
from pipeline.results.audit.examples import ExampleRow
from pipeline.results.audit.labelled import Labelled
from pipeline.results.audit.report import AuditReport, ExitFigures
from pipeline.results.audit.share import Share
from pipeline.results.audit.times import JobTimes

AUDIT_PAGE_FILE = "audit.html"
_VERDICTS = {
    Finding.STANDS: (Verdict.GOOD, "The promise stands"),
    Finding.CONTRADICTED: (Verdict.BAD, "Contradicted"),
    Finding.UNTOLD: (Verdict.UNKNOWN, "Not contradicted"),
    Finding.NO_PROMISE: (Verdict.UNKNOWN, "No promise"),
}
# Confusion exit by exit: of more labels the tables tell enough.
_MOST_LABELS_BY_EXIT = 8


def audit_page(report: AuditReport, manifest: ScoreManifest, comparison: Comparison | None = None) -> Page:
    """Return the page of a finished job.

    Args:
        report: all that is said of it.
        manifest: of the job.
        comparison: with another job; None for none.
    """
    sections = [
        Section(title="Where rows left", blocks=_exits(report)),
        Section(title="How sure they were", blocks=_sureness(report, manifest)),
        Section(title="Agreement with full depth", blocks=_agreement(report)),
        Section(title="Drift", blocks=_drift(report, manifest)),
        Section(title="Compute", blocks=_compute(report, manifest)),
        Section(title="Where the time went", blocks=_times(report.times)),
        Section(title="Rejected rows", blocks=_rejected(report)),
        Section(title="Rows to look at", blocks=_examples(report)),
        Section(title="What was scored", blocks=(Settings(values=_settings(report)),)),
    ]
    if report.labelled:
        sections.insert(3, Section(title="True labels", blocks=_labelled(report.labelled)))
    if comparison:
        sections.insert(0, Section(title="Side by side", blocks=_comparison(report, comparison)))
    return Page(
        title=f"Audit of {report.job.scores}",
        lead=f"{report.job.rows:,} rows scored with {report.job.model}: {report.job.policy}.",
        top=(_banner(report), _key_figures(report)),
        sections=tuple(sections),
    )


def _comparison(report: AuditReport, comparison: Comparison) -> tuple[Block, ...]:
    other, changed = comparison.other, comparison.changed
    table = Table(
        columns=("", report.job.scores, other.job.scores),
        rows=tuple(comparison_rows(report, other)),
        text_columns=(0, 1, 2),
        is_long=True,
    )
    if not changed.whole:
        told = Note(text="No row of the one was scored by the other, going by file and row.")
        return (table, told, *_figures(comparison_figures(report, other)))
    told = Note(
        text=f"{changed.part:,} of the {changed.whole:,} rows that both scored are answered differently: "
        f"{changed.value:.2%}."
    )
    blocks: list[Block] = [table, told, *_figures(comparison_figures(report, other))]
    if comparison.changes:
        rows = tuple((each.before, each.after, f"{each.rows:,}") for each in comparison.changes)
        columns = ("before", "after", "rows")
        blocks.append(Table(columns=columns, rows=rows, caption="What became what", text_columns=(0, 1)))
    if comparison.examples:
        blocks.append(_changed_table(comparison.examples))
    return tuple(blocks)


def _changed_table(rows: Sequence[ChangedRow]) -> Table:
    kept = tuple(rows[0].before.kept)
    return Table(
        columns=(*kept, "before", "exit", "after", "exit", "file", "row"),
        rows=tuple(
            (
                *(each.before.kept[name] for name in kept),
                each.before.answer,
                str(each.before.exit_layer),
                each.after.answer,
                str(each.after.exit_layer),
                each.before.source,
                f"{each.before.row:,}",
            )
            for each in rows
        ),
        caption="Rows that are answered differently",
        text_columns=(*range(len(kept)), *(len(kept) + place for place in (0, 2, 4))),
        is_long=bool(kept),
    )


def _banner(report: AuditReport) -> Banner:
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


def _key_figures(report: AuditReport) -> KeyFigures:
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


def _figures(figures: Iterable[Figure | None]) -> tuple[Block, ...]:
    """Return the figures that there are, as one block; none for none."""
    there = tuple(figure for figure in figures if figure is not None)
    return (Figures(figures=there),) if there else ()


def _exits(report: AuditReport) -> tuple[Block, ...]:
    table = Table(
        columns=("exit layer", "rows", "share", "FLOPs", "uncertainty", "median", "p95", "tokens", "called"),
        rows=tuple(_exit_row(each, report.job.rows) for each in report.exits if each.rows),
        caption="What left at each exit: mean uncertainty, median, what 95 % do not exceed, mean tokens",
        text_columns=(8,),
    )
    figures = [exits_figure(report.exits)]
    if report.lengths:
        figures.append(lengths_figure(report.lengths))
    return (*_figures(figures), table)


def _exit_row(here: ExitFigures, num_rows: int) -> tuple[str, ...]:
    most = sorted(here.called.items(), key=lambda each: -each[1])[:3]
    return (
        str(here.exit_layer),
        f"{here.rows:,}",
        f"{here.rows / num_rows:.1%}",
        f"{here.flops_share:.1%}",
        f"{here.mean_uncertainty:.3f}",
        f"{here.quantiles[2]:.3f}",
        f"{here.quantiles[4]:.3f}",
        f"{here.mean_tokens:.1f}",
        ", ".join(f"{name} {rows / here.rows:.0%}" for name, rows in most if rows),
    )


def _sureness(report: AuditReport, manifest: ScoreManifest) -> tuple[Block, ...]:
    exponent = manifest.settings.length_exponent
    blocks = _figures(
        [
            uncertainty_figure(report.exits, length_exponent=exponent),
            uncertainty_histogram(report.exits),
            agreement_figure(report.agreement.by_uncertainty, by="uncertainty", promised=None),
            luha_figure(report.reference) if report.reference else None,
        ]
    )
    if report.reference is None:
        return (*blocks, Note(text="The policy was not calibrated: there are no calibration rows to show."))
    return (*blocks, *_figures(speeds_figures(report.reference)))


def _agreement(report: AuditReport) -> tuple[Block, ...]:
    agreement = report.agreement
    if not agreement.overall.whole:
        return (
            Note(text="The shadow sample is empty: nothing of this job was answered at full depth, too."),
        )
    whole = report.promise.parts[:1]
    promised = 1 - whole[0].share if whole else None
    parts = _parts_by(agreement)
    figures = _figures(
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
            f"at most {part.share:.2%}",
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


def _labelled(labelled: Labelled) -> tuple[Block, ...]:
    overall = labelled.overall
    names = [each.label for each in overall.by_label]
    figures = [confusion_figure(overall, which="All labelled rows")]
    if len(names) <= _MOST_LABELS_BY_EXIT:
        figures += [
            confusion_figure(rows, which=f"Those that left at exit {exit_layer}")
            for exit_layer, rows in labelled.by_exit.items()
        ]
    by_label = Table(
        columns=("label", "rows", "answered", "precision", "recall", "F1"),
        rows=tuple(
            (
                each.label,
                f"{each.num_true:,}",
                f"{each.num_predicted:,}",
                f"{each.precision:.2%}",
                f"{each.recall:.2%}",
                f"{each.f1:.3f}",
            )
            for each in overall.by_label
        ),
        caption=f"All exits: accuracy {overall.accuracy}, macro F1 {overall.macro_f1:.3f}",
    )
    by_exit = Table(
        columns=("exit layer", "rows", "accuracy", "macro F1", *(f"F1 {name}" for name in names)),
        rows=tuple(
            (
                exit_layer,
                f"{rows.accuracy.whole:,}",
                str(rows.accuracy),
                f"{rows.macro_f1:.3f}",
                *(f"{each.f1:.3f}" if each.num_true or each.num_predicted else "-" for each in rows.by_label),
            )
            for exit_layer, rows in labelled.by_exit.items()
        ),
        caption="Exit by exit",
    )
    return (*_figures(figures), by_label, by_exit)


def _drift(report: AuditReport, manifest: ScoreManifest) -> tuple[Block, ...]:
    drift = report.drift
    if drift is None:
        why = "There is nothing to hold the texts against: "
        if manifest.certificate is None:
            return (Note(text=why + "the policy was not calibrated."),)
        return (Note(text=f"{why}the calibration counts {manifest.certificate.unit}, the sample does not."),)
    names = tuple(report.exits[0].called) if manifest.settings.answer.calls_one_label else ()
    table = Table(
        columns=("compared", "stability index", "p", "drifted"),
        rows=tuple(
            (each.feature, f"{each.index:.3f}", f"{each.p_value:.2g}", "yes" if each.is_drifted else "no")
            for each in drift.features
        ),
        caption=f"{drift.num_texts:,} sampled texts against the calibration's test rows",
        text_columns=(0, 3),
    )
    note = Note(
        text="The stability index is by how much two spreads differ: below 0.1 little, from 0.25 on much. p "
        "is how often texts that are alike differ by as much (chi-squared). Drifted is what differs by 0.1 "
        "or more, and not by chance."
    )
    told = Note(text=describe_drift(drift), is_warning=drift.verdict is Drift.DRIFTED)
    return (told, table, note, *_figures(drift_figure(each, names) for each in drift.features))


def _compute(report: AuditReport, manifest: ScoreManifest) -> tuple[Block, ...]:
    savings = report.savings
    rows = [
        ("found, real lengths, attention and branches counted", format_ratio(savings.found)),
        ("found, by the paper's count (128 tokens, linear layers only)", format_ratio(savings.paper)),
    ]
    if savings.expected is not None:
        rows.insert(0, ("expected, from the calibration's test rows", format_ratio(savings.expected)))
    if savings.asked is not None:
        rows.insert(0, ("asked for", format_ratio(savings.asked)))
    table = Table(columns=("saved compute", "times full depth"), rows=tuple(rows))
    curve = manifest.certificate.speed_curve if manifest.certificate else ()
    return (table, *_figures([speedup_figure(report, curve)]))


def _times(times: JobTimes | None) -> tuple[Block, ...]:
    if times is None:
        return (Note(text="Nothing is known: the runner of this job tells no times."),)
    note = Note(text=describe_times(times))
    parts = Table(
        columns=("workers were at", "seconds", "share"),
        rows=tuple((each.name, f"{each.seconds:,.2f}", f"{each.share:.1%}") for each in times.parts),
    )
    if not times.layers:
        return (note, *_figures([times_figure(times)]), parts)
    layers = Table(
        columns=("layer", "seconds", "its branch"),
        rows=tuple(
            (str(each.layer), f"{each.seconds:,.2f}", f"{each.branch_seconds:,.2f}") for each in times.layers
        ),
    )
    return (note, *_figures([times_figure(times), layer_times_figure(times)]), parts, layers)


def _rejected(report: AuditReport) -> tuple[Block, ...]:
    if not report.rejected:
        return (Note(text="None."),)
    rows = tuple(
        (
            each.reason,
            f"{each.rows:,}" if place == 0 else "",
            example.source,
            f"{example.row:,}",
            "-" if example.value is None else example.value,
        )
        for each in report.rejected
        for place, example in enumerate(each.examples)
    )
    columns = ("reason", "rows", "as in", "row", "what stands there")
    caption = f"{report.job.rejected.part:,} rows were rejected"
    return (Table(columns=columns, rows=rows, caption=caption, text_columns=(0, 2, 4), is_long=True),)


def _examples(report: AuditReport) -> tuple[Block, ...]:
    examples = report.examples
    blocks: list[Block] = []
    for rows, caption in (
        (examples.wrong, "Left wrongly: answered otherwise than full depth does, the surest first"),
        (examples.unsure, "The most unsure"),
    ):
        blocks.append(_example_table(rows, caption) if rows else Note(text=f"{caption}: none."))
    if not any(row.kept for row in (*examples.wrong, *examples.unsure)):
        blocks.append(Note(text="Score with --keep COLUMN to see texts here."))
    return tuple(blocks)


def _example_table(rows: Sequence[ExampleRow], caption: str) -> Table:
    kept = tuple(rows[0].kept)
    columns = (*kept, "answer", "full depth", "exit", "uncertainty", "file", "row")
    return Table(
        columns=columns,
        rows=tuple(
            (
                *(each.kept[name] for name in kept),
                each.answer,
                each.full_depth,
                str(each.exit_layer),
                f"{each.uncertainty:.3f}",
                each.source,
                f"{each.row:,}",
            )
            for each in rows
        ),
        caption=caption,
        text_columns=(*range(len(kept)), *(len(kept) + place for place in (0, 1, 4))),
        is_long=bool(kept),
    )


def _settings(report: AuditReport) -> dict[str, str]:
    job = report.job
    return {
        "scores": job.scores,
        "model": f"{job.model}, {job.num_layers} layers",
        "policy": job.policy,
        "compares": job.answers,
        "ran on": f"{job.device}, {job.precision}",
        "max length": f"{job.max_length} tokens, {job.truncated} of the rows were cut",
    }
