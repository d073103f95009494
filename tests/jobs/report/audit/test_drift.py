from dataclasses import replace

from jobs.report.audit.drift import drift_section
from jobs.report.content import Note
from model.guarantee.unit import Unit
from tests.jobs.report.pages import table
from tests.pipeline.results.audit.audited_jobs import AuditedJob


def test_drifted_features_are_named_and_the_verdict_is_to_be_seen(job: AuditedJob, drifted_job: AuditedJob):
    for each, is_drifted in ((job, False), (drifted_job, True)):
        section = drift_section(each.report, each.manifest)
        told = section.blocks[0]
        assert isinstance(told, Note)
        assert told.is_warning is is_drifted
        drifted = {row[0] for row in table(section).rows if row[-1] == "yes"}
        assert ("tokens" in drifted) is is_drifted


def test_where_nothing_is_compared_it_is_said_why(job: AuditedJob, bare_job: AuditedJob):
    (note,) = drift_section(bare_job.report, bare_job.manifest).blocks
    assert note.text.endswith("the policy was not calibrated.")
    certificate = replace(job.manifest.certificate, unit=Unit.GROUPS)
    (note,) = drift_section(
        replace(job.report, drift=None), replace(job.manifest, certificate=certificate)
    ).blocks
    assert note.text.endswith("the calibration counts groups, the sample does not.")
