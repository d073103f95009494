from pathlib import Path

from jobs.report.audit.comparison import comparison_section
from jobs.report.content import Note, Table
from pipeline.results.audit.comparison import compare_jobs
from tests.pipeline.results.audit.audited_jobs import AuditedJob, audited, finished
from tests.pipeline.results.score_rows import LABELS


def test_what_became_what_is_told_and_the_rows_are_shown(job: AuditedJob, tmp_path: Path):
    rows = job.rows.copy()
    before = rows["prediction"].to_numpy().copy()
    after = before.copy()
    after[:7] = [LABELS[(LABELS.index(label) + 1) % len(LABELS)] for label in before[:7]]
    rows["prediction"] = after
    other = audited(tmp_path, rows, None, kept=["text"])
    section = comparison_section(job.report, compare_jobs(finished(job), finished(other)))
    (told,) = [block for block in section.blocks if isinstance(block, Note)]
    assert told.text.startswith("7 of the 2,000 rows that both scored are answered differently: 0.35%")
    side_by_side, changes, changed = (block for block in section.blocks if isinstance(block, Table))
    assert side_by_side.columns[1:] == (job.report.job.scores, other.report.job.scores)
    assert sum(int(row[-1]) for row in changes.rows) == 7
    places = [changed.columns.index(name) for name in ("before", "after")]
    assert [tuple(row[place] for place in places) for row in changed.rows] == list(
        zip(before[:7], after[:7], strict=True)
    )


def test_jobs_without_a_row_in_common_are_told_so(job: AuditedJob, empty_job: AuditedJob):
    section = comparison_section(job.report, compare_jobs(finished(job), finished(empty_job)))
    (told,) = [block for block in section.blocks if isinstance(block, Note)]
    assert told.text == "No row of the one was scored by the other, going by file and row."
