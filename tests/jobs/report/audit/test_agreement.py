from jobs.report.audit.agreement import agreement_section
from jobs.report.content import Table
from tests.pipeline.results.audit.audited_jobs import AuditedJob


def test_the_promise_is_told_part_by_part(job: AuditedJob):
    tables = [block for block in agreement_section(job.report).blocks if isinstance(block, Table)]
    promised, by_part = tables
    (part,) = job.report.promise.parts
    assert promised.rows[0][:3] == ("all", "at most 5.00%", f"{part.num_wrong} of {part.num_texts}")
    overall = job.report.agreement.overall
    assert by_part.rows[0] == ("all", "", str(overall), f"{overall.whole:,}")
    assert {row[0] for row in by_part.rows[1:]} == {
        "exit layer", "full depth's answer", "length", "uncertainty",
    }  # fmt: skip


def test_where_nothing_was_promised_there_is_no_table_of_it(bare_job: AuditedJob):
    tables = [block for block in agreement_section(bare_job.report).blocks if isinstance(block, Table)]
    assert [table.caption for table in tables] == ["Agreement with full depth"]


def test_of_no_sample_there_is_nothing_to_tell(empty_job: AuditedJob):
    (note,) = agreement_section(empty_job.report).blocks
    assert note.text.startswith("The shadow sample is empty")
