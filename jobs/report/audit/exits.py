"""Where rows left the network."""

from jobs.report.audit_figures import exits_figure, lengths_figure
from jobs.report.content import Block, Section, Table, figures_of
from jobs.terminal.audit_summary import exit_cells
from pipeline.results.audit.report import AuditReport, ExitFigures


def exits_section(report: AuditReport) -> Section:
    """Return how many rows left at each exit, and what they were like."""
    return Section(title="Where rows left", blocks=_exits(report))


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
    return (*figures_of(figures), table)


def _exit_row(here: ExitFigures, num_rows: int) -> tuple[str, ...]:
    most = sorted(here.called.items(), key=lambda each: -each[1])[:3]
    return (
        *exit_cells(here, num_rows),
        f"{here.mean_tokens:.1f}",
        ", ".join(f"{name} {rows / here.rows:.0%}" for name, rows in most if rows),
    )
