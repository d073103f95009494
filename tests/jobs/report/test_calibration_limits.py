from dataclasses import replace

import pytest

from jobs.report.calibration_limits import describe_limits
from pipeline.results.calibration_report import CalibrationReport
from tests.model.exit_populations import exit_calibration


@pytest.fixture
def report() -> CalibrationReport:
    return CalibrationReport.of(exit_calibration(num_rows=1000), fingerprint="f", confidence=0.95)


def with_saved_compute(report: CalibrationReport, *saved: float) -> CalibrationReport:
    targets = (
        replace(target, saved_compute=value) for target, value in zip(report.targets, saved, strict=True)
    )
    return replace(report, targets=tuple(targets))


def test_nothing_is_said_where_every_promise_saves(report: CalibrationReport):
    assert describe_limits(with_saved_compute(report, 2, 2, 2, 2, 2, 2), "more text would help") == ""


def test_a_promise_that_saves_nothing_is_named_with_what_would_help(report: CalibrationReport):
    line = describe_limits(with_saved_compute(report, 1.0, 1.05, 2, 2, 2, 2), "more text would help")
    assert line == (
        "at most 0.10%, 0.25% saves next to nothing; 0.10% takes 2,995 test rows at the least, and there are "
        "667: label more, or with a larger --calibration-fraction; more text would help"
    )


def test_rows_are_not_asked_for_where_there_are_enough(report: CalibrationReport):
    targets = tuple(replace(target, num_rows=3000) for target in report.targets)
    line = describe_limits(with_saved_compute(replace(report, targets=targets), 1, 1, 1, 1, 1, 1), "")
    assert line == "at most 0.10%, 0.25%, 0.50%, 1.00%, 2.00%, 5.00% saves next to nothing"
