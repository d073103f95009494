import re
from pathlib import Path

import pytest

from jobs.report.audit_page import audit_page
from jobs.report.content import Banner, Page
from jobs.report.page import render_page
from pipeline.results.audit.comparison import compare_jobs
from tests.jobs.report.browser import look, needs_chromium, visit
from tests.pipeline.results.audit.audited_jobs import AuditedJob, finished


@pytest.fixture(scope="module")
def page(job: AuditedJob) -> Page:
    return audit_page(job.report, job.manifest)


def test_the_verdict_comes_first(page: Page):
    assert isinstance(page.top[0], Banner)


def test_the_sections_are_those_that_there_is_something_to_say_of(
    job: AuditedJob, bare_job: AuditedJob, page: Page
):
    assert [each.title for each in page.sections].index("True labels") == 3
    bare = audit_page(bare_job.report, bare_job.manifest)
    titles = [each.title for each in page.sections if each.title != "True labels"]
    assert [each.title for each in bare.sections] == titles
    comparison = compare_jobs(finished(job), finished(bare_job))
    both = audit_page(job.report, job.manifest, comparison)
    assert [each.title for each in both.sections] == ["Side by side", *(each.title for each in page.sections)]


def test_the_numbers_are_the_report_s(job: AuditedJob, page: Page):
    html = re.sub(r"\s+", " ", render_page(page))
    report = job.report
    for told in (
        f"{report.savings.found:.2f}x",
        str(report.agreement.overall),
        str(report.labelled.overall.accuracy),
        *(f"{each.rows:,}" for each in report.exits),
        *(str(part.agreement) for part in report.agreement.by_answer),
        *(f"{each.index:.3f}" for each in report.drift.features),
    ):
        assert told in html


def test_texts_are_shown_as_text(page: Page):
    html = render_page(page)
    assert "<script" not in html
    assert "\x1b" not in html
    assert "&lt;" in html


def test_a_job_of_which_little_is_known_has_a_page(bare_job: AuditedJob, empty_job: AuditedJob):
    for job in (bare_job, empty_job):
        assert f"{job.report.job.rows:,} rows scored" in render_page(audit_page(job.report, job.manifest))


@needs_chromium
@pytest.mark.parametrize("is_dark", [False, True])
def test_nothing_sticks_out(page: Page, tmp_path: Path, is_dark: bool):
    path = tmp_path / "page.html"
    path.write_text(render_page(page))
    for screen in look(path, tmp_path, is_dark=is_dark).values():
        assert screen.beyond == []


@needs_chromium
def test_the_page_asks_for_nothing_and_complains_of_nothing(page: Page, tmp_path: Path):
    path = tmp_path / "page.html"
    path.write_text(render_page(page))
    seen = visit(path, tmp_path)
    assert (seen.console, seen.requests) == ([], [])
    assert seen.picture.std() > 0.05
