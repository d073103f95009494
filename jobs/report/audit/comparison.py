"""Two jobs side by side."""

from collections.abc import Sequence

from jobs.report.audit_figures import comparison_figures
from jobs.report.content import Block, Note, Section, Table, figures_of
from jobs.terminal.audit_summary import comparison_rows
from pipeline.results.audit.comparison import ChangedRow, Comparison
from pipeline.results.audit.report import AuditReport


def comparison_section(report: AuditReport, comparison: Comparison) -> Section:
    """Return the numbers of both jobs, and what the other one answers otherwise."""
    return Section(title="Side by side", blocks=_comparison(report, comparison))


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
        return (table, told, *figures_of(comparison_figures(report, other)))
    told = Note(
        text=f"{changed.part:,} of the {changed.whole:,} rows that both scored are answered differently: "
        f"{changed.value:.2%}."
    )
    blocks: list[Block] = [table, told, *figures_of(comparison_figures(report, other))]
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
