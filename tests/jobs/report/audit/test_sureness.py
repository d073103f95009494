from jobs.report.audit.sureness import sureness_section
from jobs.report.content import Figures, Note
from tests.pipeline.results.audit.audited_jobs import AuditedJob


def test_what_calibration_rows_would_show_is_missing_without_them(job: AuditedJob, bare_job: AuditedJob):
    certified, bare = (sureness_section(each.report, each.manifest) for each in (job, bare_job))
    own, of_calibration = certified.blocks
    assert isinstance(of_calibration, Figures)
    figures, note = bare.blocks
    assert isinstance(note, Note)
    assert len(figures.figures) == len(own.figures) - 1
