from dataclasses import replace

import numpy as np
import pytest

from jobs.report.calibration_page import calibration_page
from jobs.report.content import Figures, Note, Verdict
from jobs.report.page import render_page
from pipeline.results.calibration import Calibration
from tests.jobs.report.browser import look, needs_chromium, visit
from tests.jobs.report.pages import banner, section, table, texts
from tests.model.exit_populations import exit_calibration


def calibrated(num_rows=3000, **options):
    exits = exit_calibration(num_rows, **options)
    return Calibration.of(exits, sources=["s"] * num_rows, row_numbers=np.arange(num_rows))


def page_of(calibration, **options):
    return calibration_page(calibration, model="mine", decided={"rows": "3,000"}, **options)


@pytest.fixture(scope="module")
def calibration():
    return calibrated(lexical=True)


@pytest.fixture(scope="module")
def page(calibration):
    return page_of(calibration, limits="more would help", warnings=["near copies"])


def figures(page, title):
    return [
        each for block in section(page, title).blocks if isinstance(block, Figures) for each in block.figures
    ]


def test_the_verdict_is_of_one_percent(page, calibration):
    (told,) = [target for target in calibration.report.targets if target.max_disagreement == 0.01]
    found = banner(page)
    assert told.is_certified
    assert found.verdict is Verdict.GOOD
    assert f"{told.num_disagreements:,} of {told.num_rows:,} test rows disagree" in found.sentence
    assert f"saved compute is {told.saved_compute:.2f}x" in found.sentence
    assert found.details == ("More would help.",)
    assert [block.text for block in page.top if isinstance(block, Note)] == ["near copies"]


def test_nothing_certified_is_told(calibration):
    targets = tuple(replace(each, is_certified=False) for each in calibration.report.targets)
    page = page_of(replace(calibration, report=replace(calibration.report, targets=targets, speed_curve=())))
    assert banner(page).verdict is Verdict.BAD
    assert figures(page, "What each promise saves") == []
    assert "no speed-up within reach" in render_page(page)


def test_promises_are_the_report_s(page, calibration):
    promises = table(section(page, "What each promise saves"))
    # No bound from the rows that chose the thresholds: what was promised is what holds.
    assert promises.columns == ("at most", "certified", "saved compute", "test rows that disagree")
    rows = promises.rows
    assert [row[0] for row in rows] == ["0.10%", "0.25%", "0.50%", "1.00%", "2.00%", "5.00%"]
    assert [row[3] for row in rows] == [
        f"{each.num_disagreements:,} of {each.num_rows:,}" for each in calibration.report.targets
    ]


def test_every_exit_but_the_last_has_a_reliability_diagram(page, calibration):
    found = figures(page, "How sure, and how often right")
    assert len(found) == len(calibration.report.exits) - 1
    for each, figure in zip(calibration.report.exits[:-1], found, strict=True):
        assert {"before", f"temperature {each.scaling}", "confidence"} <= texts(figure.plot)
        assert f"Exit {each.exit_layer}: expected calibration error {each.ece_before:.2%}" in figure.caption


def test_counts_are_of_the_test_rows(page, calibration):
    found = table(section(page, "How sure, and how often right"))
    counts = np.array([[int(cell.replace(",", "")) for cell in row[1:]] for row in found.rows])
    num_tests = (~calibration.exits.is_search).sum()
    assert (counts.sum(axis=1) == num_tests).all()
    logits = calibration.exits.logits[~calibration.exits.is_search, 1] / 1.5
    sure = (np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1) * 10).astype(int).clip(0, 9)
    np.testing.assert_allclose(counts[1], np.bincount(sure, minlength=10), atol=1)


def test_agreement_is_told_with_exact_intervals(page, calibration):
    caption = figures(page, "How often exits agree")[0].caption
    num_tests = (~calibration.exits.is_search).sum()
    assert f"{num_tests:,} test rows, exact intervals at 95%" in caption


def test_uncertainty_has_a_line_an_exit(page):
    assert {"exit 0", "exit 1", "exit 2", "uncertainty"} <= texts(
        figures(page, "How often exits agree")[1].plot
    )


def test_equal_calibrations_are_equal_pages(page):
    again = page_of(calibrated(lexical=True), limits="more would help", warnings=["near copies"])
    assert render_page(again) == render_page(page)


@needs_chromium
def test_fits_a_phone(page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(render_page(page), encoding="utf-8")
    assert [screen.beyond for screen in look(path, tmp_path, is_dark=False).values()] == [[], []]
    found = visit(path, tmp_path)
    assert (found.console, found.requests) == ([], [])
