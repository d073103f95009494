from dataclasses import replace

import pytest

from jobs.report.audit.verdict import banner, key_figures
from jobs.report.content import Verdict
from model.guarantee.promise_check import Finding
from tests.pipeline.results.audit.audited_jobs import AuditedJob


def test_a_promise_that_stands_is_good_news(job: AuditedJob):
    found = banner(job.report)
    assert (found.verdict, found.word) == (Verdict.GOOD, "The promise stands")
    assert found.sentence == f"P{job.report.promise.verdict[1:]}."
    assert found.details[0].startswith("Drift: none seen")


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (Finding.CONTRADICTED, Verdict.BAD),
        (Finding.UNTOLD, Verdict.UNKNOWN),
        (Finding.NO_PROMISE, Verdict.UNKNOWN),
    ],
)
def test_each_finding_has_its_verdict(job: AuditedJob, finding: Finding, verdict: Verdict):
    report = replace(job.report, promise=replace(job.report.promise, finding=finding))
    assert banner(report).verdict is verdict


def test_other_texts_are_no_good_news(drifted_job: AuditedJob):
    found = banner(drifted_job.report)
    assert (found.verdict, found.word) == (Verdict.BAD, "Other texts")


def test_what_is_not_known_is_no_number(job: AuditedJob, bare_job: AuditedJob, empty_job: AuditedJob):
    known, bare, empty = (
        {each.name: each for each in key_figures(each.report).figures} for each in (job, bare_job, empty_job)
    )
    assert known.keys() - bare.keys() == {"accuracy"}
    assert known["saved compute"].note.endswith("x expected")
    assert bare["saved compute"].note == ""
    assert empty["agreement with full depth"].value == "unknown"
