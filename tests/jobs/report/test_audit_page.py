import re
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.report.audit_page import audit_page
from jobs.report.content import Banner, Page, Verdict
from jobs.report.page import render_page
from model.guarantee.promise_check import Finding
from tests.jobs.report.browser import look, needs_chromium, visit
from tests.jobs.report.pages import banner, section
from tests.jobs.report.sample_page import HOSTILE
from tests.pipeline.results.audit.audited_jobs import (
    WORK,
    AuditedJob,
    audited,
    certificate,
    rows_with_errors,
)
from tests.pipeline.results.score_rows import random_rows


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> AuditedJob:
    rows = rows_with_errors(2000, num_shadow=700, num_wrong=9)
    # Parquet holds no halves of letters.
    rows["text"] = HOSTILE.encode("utf-8", "ignore").decode()
    made = certificate(max_disagreement=0.05, tested_by=random_rows(1500, seed=5))
    made = replace(made, target_speedup=2.0)
    return audited(tmp_path_factory.mktemp("job"), rows, made, kept=["text"], is_labelled=True, work=WORK)


@pytest.fixture(scope="module")
def page(job: AuditedJob) -> Page:
    return audit_page(job.report, job.manifest)


def test_the_verdict_comes_first(job: AuditedJob, page: Page):
    assert isinstance(page.top[0], Banner)
    found = banner(page)
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
    assert banner(audit_page(report, job.manifest)).verdict is verdict


def test_other_texts_are_no_good_news(job: AuditedJob, tmp_path: Path):
    longer = random_rows(1500, seed=5)
    longer["num_tokens"] *= 3
    other = audited(tmp_path, job.rows, certificate(max_disagreement=0.05, tested_by=longer))
    found = banner(audit_page(other.report, other.manifest))
    assert (found.verdict, found.word) == (Verdict.BAD, "Other texts")


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
        "10.0 s for 2,001 rows, 200 rows/s; of the workers&#39; 20.0 s reading 5%, tokenizing 10%",
        *(f"{each.seconds:.2f}" for each in report.times.layers),
    ):
        assert told in html


def test_texts_are_shown_as_text(page: Page):
    html = render_page(page)
    assert "<script" not in html
    assert "\x1b" not in html
    assert "&lt;" in html


def test_a_job_of_which_little_is_known_has_a_page(job: AuditedJob, tmp_path: Path):
    bare = audited(tmp_path / "bare", job.rows, None)
    page = audit_page(bare.report, bare.manifest)
    assert "was not calibrated" in section(page, "Drift").blocks[0].text
    assert "tells no times" in section(page, "Where the time went").blocks[0].text
    rows = random_rows(0)
    nothing = audited(tmp_path / "nothing", rows, None)
    html = render_page(audit_page(nothing.report, nothing.manifest))
    assert "The shadow sample is empty" in html


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
