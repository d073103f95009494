"""What `audit` prints of a report."""

from __future__ import annotations

from jobs.terminal.console import stdout_console, table
from model.guarantee.drift import DRIFTED_INDEX, Drift, DriftReport
from model.guarantee.promise_check import Finding
from model.messages import format_ratio
from pipeline.results.audit.comparison import Comparison
from pipeline.results.audit.report import AuditReport, ExitFigures
from pipeline.results.audit.times import JobTimes

_STYLES = {Finding.STANDS: "bold green", Finding.CONTRADICTED: "bold red"}
_SHOWN_LABELS = 12


def show(report: AuditReport) -> None:
    """Print a table and a few lines."""
    console, job, savings = stdout_console(), report.job, report.savings
    columns = ["exit layer", "rows", "share", "FLOPs", "uncertainty", "median", "p95", "most called"]
    by_exit = report.labelled.by_exit if report.labelled else {}
    if by_exit:
        columns += ["accuracy", "macro F1"]
    rows = []
    for here in report.exits:
        if here.rows:
            cells = _cells(here, job.rows)
            if by_exit:
                judged = by_exit.get(str(here.exit_layer))
                cells += [f"{judged.accuracy.value:.2%}", f"{judged.macro_f1:.3f}"] if judged else ["-", "-"]
            rows.append(cells)
    console.print(table(f"{job.rows:,} rows, {job.policy}", columns, rows))
    shadow = f"; {format_ratio(savings.with_shadow)} with the shadow sample" if savings.with_shadow else ""
    console.print(
        f"mean exit layer {savings.mean_exit_layer:.2f} of {job.num_layers}; saved compute "
        f"{format_ratio(savings.found)} (real lengths, attention and branches counted{shadow}), "
        f"{format_ratio(savings.paper)} by the paper's count (128 tokens, linear layers only)"
        + (f"; {format_ratio(savings.expected)} was expected" if savings.expected else ""),
        soft_wrap=True,
    )
    if report.times:
        console.print(describe_times(report.times), soft_wrap=True)
    _show_labelled(report)
    for each in report.rejected:
        first = each.examples[0]
        console.print(
            f"{each.rows:,} rows rejected: {each.reason}, as row {first.row} of {first.source}",
            soft_wrap=True,
        )
    console.print(report.promise.verdict, style=_STYLES.get(report.promise.finding), soft_wrap=True)
    if report.drift:
        is_drifted = report.drift.verdict is Drift.DRIFTED
        console.print(describe_drift(report.drift), style="bold red" if is_drifted else None, soft_wrap=True)


def show_comparison(report: AuditReport, comparison: Comparison) -> None:
    """Print two jobs side by side."""
    console = stdout_console()
    rows = comparison_rows(report, comparison.other)
    console.print(table("side by side", ("", report.job.scores, comparison.other.job.scores), rows))
    changed = comparison.changed
    if not changed.whole:
        console.print("no row of the one was scored by the other, going by file and row")
        return
    console.print(
        f"{changed.part:,} of the {changed.whole:,} rows that both scored are answered differently: "
        f"{changed.value:.2%}"
    )
    if comparison.changes:
        changes = [(each.before, each.after, f"{each.rows:,}") for each in comparison.changes[:_SHOWN_LABELS]]
        console.print(table("what became what", ("before", "after", "rows"), changes))


def comparison_rows(one: AuditReport, other: AuditReport) -> list[tuple[str, str, str]]:
    """Return what is told of two jobs, line by line: of what, of the one, of the other."""
    both = (one, other)
    lines = {
        "model": [each.job.model for each in both],
        "policy": [each.job.policy for each in both],
        "rows": [f"{each.job.rows:,}" for each in both],
        "rejected": [f"{each.job.rejected.part:,}" for each in both],
        "saved compute": [format_ratio(each.savings.found) for each in both],
        "mean exit layer": [f"{each.savings.mean_exit_layer:.2f} of {each.job.num_layers}" for each in both],
        "agreement with full depth": [str(each.agreement.overall) for each in both],
        "accuracy": [str(each.labelled.overall.accuracy) if each.labelled else "-" for each in both],
        "rows a second": [_rate(each.times) for each in both],
        "promise": [each.promise.finding.value for each in both],
        "drift": [each.drift.verdict.value if each.drift else "-" for each in both],
    }
    return [(name, first, second) for name, (first, second) in lines.items()]


def _rate(times: JobTimes | None) -> str:
    return "-" if times is None else f"{times.num_rows / times.wall_seconds:,.0f}"


def describe_times(times: JobTimes) -> str:
    """Return a line about what a job took, and at what its workers were."""
    runs = "" if times.num_runs == 1 else f" in {times.num_runs} runs"
    parts = ", ".join(f"{each.name} {each.share:.0%}" for each in times.parts)
    return (
        f"{times.wall_seconds:,.1f} s{runs} for {times.num_rows:,} rows, {_rate(times)} rows/s; of the "
        f"workers' {times.busy_seconds:,.1f} s {parts}"
    )


def exit_cells(here: ExitFigures, num_rows: int) -> list[str]:
    """Return what every table tells of what left at one exit, from its number to what 95 % do not exceed."""
    return [
        str(here.exit_layer),
        f"{here.rows:,}",
        f"{here.rows / num_rows:.1%}",
        f"{here.flops_share:.1%}",
        f"{here.mean_uncertainty:.3f}",
        f"{here.quantiles[2]:.3f}",
        f"{here.quantiles[4]:.3f}",
    ]


def _cells(here: ExitFigures, num_rows: int) -> list[str]:
    """Return a row of the table: what left at one exit."""
    most = max(here.called, key=here.called.__getitem__, default="")
    return [*exit_cells(here, num_rows), f"{most} {here.called[most] / here.rows:.0%}" if most else "-"]


def _show_labelled(report: AuditReport) -> None:
    if report.labelled is None:
        return
    console, overall = stdout_console(), report.labelled.overall
    judged = sorted(overall.by_label, key=lambda each: -each.num_true)
    rows = [
        (each.label, f"{each.num_true:,}", f"{each.precision:.2%}", f"{each.recall:.2%}", f"{each.f1:.3f}")
        for each in judged[:_SHOWN_LABELS]
    ]
    left = len(judged) - len(rows)
    title = f"against true labels{f', {left} rarer labels left out' if left else ''}"
    console.print(table(title, ("label", "rows", "precision", "recall", "F1"), rows))
    console.print(
        f"accuracy {overall.accuracy} of {overall.accuracy.whole:,} labelled rows, macro F1 "
        f"{overall.macro_f1:.3f}",
        soft_wrap=True,
    )


def describe_drift(drift: DriftReport) -> str:
    """Return a line about whether the texts are like the calibration's."""
    if drift.verdict is Drift.UNTOLD:
        return f"drift: {drift.num_texts:,} sampled texts are too few to tell"
    apart = sorted(drift.features, key=lambda each: -each.index)
    if drift.verdict is Drift.NONE:
        return (
            f"drift: none seen, in {', '.join(each.feature for each in drift.features)} of "
            f"{drift.num_texts:,} sampled texts (the largest stability index is {apart[0].index:.3f}, of "
            f"{apart[0].feature}; from {DRIFTED_INDEX:g} on it counts)"
        )
    told = ", ".join(
        f"{each.feature} (stability index {each.index:.2f})" for each in apart if each.is_drifted
    )
    return (
        f"drift: these texts are not like those of the calibration, in {told}: what was promised is of other "
        "texts; calibrate with some of these"
    )
