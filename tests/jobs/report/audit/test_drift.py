from dataclasses import replace

from jobs.report.audit.drift import drift_section
from jobs.report.content import Figures, Note
from model.guarantee.policy_reference import Feature
from model.guarantee.unit import Unit
from tests.jobs.report.pages import table, texts
from tests.pipeline.results.audit.audited_jobs import AuditedJob
from tests.pipeline.results.score_rows import LABELS


def test_drifted_features_are_named_and_the_verdict_is_to_be_seen(job: AuditedJob, drifted_job: AuditedJob):
    for each, is_drifted in ((job, False), (drifted_job, True)):
        section = drift_section(each.report, each.manifest)
        told = section.blocks[0]
        assert isinstance(told, Note)
        assert told.is_warning is is_drifted
        drifted = {row[0] for row in table(section).rows if row[-1] == "yes"}
        assert ("tokens" in drifted) is is_drifted


def test_each_bar_has_the_name_of_what_it_is_of(job: AuditedJob):
    section = drift_section(job.report, job.manifest)
    (figures,) = [block for block in section.blocks if isinstance(block, Figures)]
    by_feature = {
        each.feature: texts(figure.plot)
        for each, figure in zip(job.report.drift.features, figures.figures, strict=True)
    }
    assert set(LABELS) <= by_feature[Feature.ANSWER]
    assert not any("of them" in text for text in by_feature[Feature.ANSWER])
    assert {"1", "2", "3", "4"} <= by_feature[Feature.EXIT]
    assert {"more", "none"} <= by_feature[Feature.FIRST_EXIT] | by_feature[Feature.UNKNOWN]


def test_where_nothing_is_compared_it_is_said_why(job: AuditedJob, bare_job: AuditedJob):
    (note,) = drift_section(bare_job.report, bare_job.manifest).blocks
    assert note.text.endswith("the policy was not calibrated.")
    certificate = replace(job.manifest.certificate, unit=Unit.GROUPS)
    (note,) = drift_section(
        replace(job.report, drift=None), replace(job.manifest, certificate=certificate)
    ).blocks
    assert note.text.endswith("the calibration counts groups, the sample does not.")
