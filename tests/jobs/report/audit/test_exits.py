from jobs.report.audit.exits import exits_section
from tests.jobs.report.pages import table
from tests.pipeline.results.audit.audited_jobs import AuditedJob


def test_each_exit_that_rows_left_at_has_a_row(job: AuditedJob):
    found = table(exits_section(job.report))
    exits = [each for each in job.report.exits if each.rows]
    assert [row[:2] for row in found.rows] == [(str(each.exit_layer), f"{each.rows:,}") for each in exits]


def test_of_no_rows_there_is_a_table_without_any(empty_job: AuditedJob):
    assert table(exits_section(empty_job.report)).rows == ()
