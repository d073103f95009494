from dataclasses import replace

from jobs.report.audit.rows import examples_section, rejected_section
from jobs.report.content import Table
from pipeline.results.audit.examples import Examples
from pipeline.results.audit.rejected import RejectedRow, RejectedRows
from tests.jobs.report.pages import table
from tests.pipeline.results.audit.audited_jobs import AuditedJob


def test_rejected_rows_are_counted_once_for_each_reason(job: AuditedJob):
    rows = tuple(RejectedRow(source="a.csv", row=row, value=value) for row, value in ((3, "x"), (5, None)))
    rejected = (
        RejectedRows(reason="empty", rows=1200, examples=rows),
        RejectedRows(reason="too short", rows=1, examples=rows[:1]),
    )
    found = table(rejected_section(replace(job.report, rejected=rejected)))
    assert found.rows == (
        ("empty", "1,200", "a.csv", "3", "x"),
        ("empty", "", "a.csv", "5", "-"),
        ("too short", "1", "a.csv", "3", "x"),
    )
    (none,) = rejected_section(replace(job.report, rejected=())).blocks
    assert none.text == "None."


def test_rows_that_left_wrongly_are_shown_with_what_was_kept(job: AuditedJob):
    wrong, _ = (block for block in examples_section(job.report).blocks if isinstance(block, Table))
    assert wrong.columns[0] == "text"
    assert len(wrong.rows) == len(job.report.examples.wrong)
    answers = slice(wrong.columns.index("answer"), wrong.columns.index("full depth") + 1)
    for row in wrong.rows:
        answer, full_depth = row[answers]
        assert answer != full_depth


def test_who_sees_no_texts_is_told_how_to(job: AuditedJob):
    hint = "Score with --keep COLUMN to see texts here."
    assert all(getattr(block, "text", "") != hint for block in examples_section(job.report).blocks)
    wrong = tuple(replace(row, kept={}) for row in job.report.examples.wrong)
    report = replace(job.report, examples=Examples(wrong=wrong, unsure=()))
    _, no_unsure, told = examples_section(report).blocks
    assert (no_unsure.text, told.text) == ("The most unsure: none.", hint)
