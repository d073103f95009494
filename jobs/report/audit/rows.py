"""Single rows: those that were rejected, and those that are worth looking at."""

from collections.abc import Sequence

from jobs.report.content import Block, Note, Section, Table
from pipeline.results.audit.examples import ExampleRow
from pipeline.results.audit.report import AuditReport


def rejected_section(report: AuditReport) -> Section:
    """Return how many rows were rejected for what, and the first of them."""
    return Section(title="Rejected rows", blocks=_rejected(report))


def examples_section(report: AuditReport) -> Section:
    """Return rows that left wrongly, and those that left least sure."""
    return Section(title="Rows to look at", blocks=_examples(report))


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
