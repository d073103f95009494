from dataclasses import replace

from jobs.report.audit.compute import compute_section
from jobs.report.content import Figures
from model.messages import format_ratio
from tests.jobs.report.pages import table
from tests.pipeline.results.audit.audited_jobs import AuditedJob


def test_what_was_asked_for_stands_above_what_was_found(job: AuditedJob, bare_job: AuditedJob):
    rows = dict(table(compute_section(job.report, job.manifest)).rows)
    assert [name.partition(",")[0] for name in rows] == ["asked for", "expected", "found", "found", "found"]
    assert rows["asked for"] == "2.00x"
    savings = job.report.savings
    assert rows["found, the shadow sample at full depth counted too"] == format_ratio(savings.with_shadow)
    assert savings.with_shadow < savings.found
    savings = replace(bare_job.report.savings, with_shadow=None)
    assert len(table(compute_section(replace(bare_job.report, savings=savings), bare_job.manifest)).rows) == 2


def test_the_plot_of_speeds_is_there_where_one_was_asked_for(job: AuditedJob):
    asked = compute_section(job.report, job.manifest)
    assert any(isinstance(block, Figures) for block in asked.blocks)
    manifest = replace(job.manifest, certificate=None)
    report = replace(job.report, savings=replace(job.report.savings, asked=None))
    assert not any(isinstance(block, Figures) for block in compute_section(report, manifest).blocks)
