import numpy as np
import pytest

from model.errors import ParameterError
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.target_speedup import highest_saved_compute
from pipeline.results.calibration_report import DISAGREEMENTS, SPEEDUPS, CalibrationReport
from tests.model.exit_populations import CALIBRATED_FOR, LABELS, exit_calibration


@pytest.fixture(scope="module")
def exits() -> ExitCalibration:
    return exit_calibration(num_rows=2000)


@pytest.fixture(scope="module")
def report(exits: ExitCalibration) -> CalibrationReport:
    return CalibrationReport.of(exits, fingerprint="f00", confidence=0.9)


def test_it_tells_what_the_exits_are(exits: ExitCalibration, report: CalibrationReport):
    assert (report.fingerprint, report.confidence, report.num_rows) == ("f00", 0.9, 2000)
    assert (report.labels, report.calibrated_for) == (LABELS, CALIBRATED_FOR)
    assert (report.scalings, report.flops, report.cost) == (exits.scalings, exits.flops, exits.cost)
    assert list(report.exits) == exits.reliability()


def test_a_target_is_what_the_policy_for_it_gives(exits: ExitCalibration, report: CalibrationReport):
    assert [target.max_disagreement for target in report.targets] == list(DISAGREEMENTS)
    for target in report.targets:
        policy = exits.policy(max_disagreement=target.max_disagreement, confidence=0.9)
        assert target.is_certified == policy.is_certified
        assert target.thresholds == policy.thresholds
        assert target.saved_compute == policy.saved_compute
        assert (target.num_disagreements, target.num_rows) == (policy.risk.num_disagreements, 1334)
        assert target.upper_bound == policy.risk.upper_bound
    assert {target.is_certified for target in report.targets} == {True, False}


def test_a_target_that_cannot_be_certified_is_full_depth(report: CalibrationReport):
    (safest, *_) = report.targets
    assert not safest.is_certified
    assert (safest.thresholds, safest.saved_compute, safest.num_disagreements) == ((0.0,) * 3, 1.0, 0)


def test_the_speed_curve_ends_where_the_first_exit_does(exits: ExitCalibration, report: CalibrationReport):
    asked = [asked for asked, _ in report.speed_curve]
    highest = highest_saved_compute(exits.flops_outcomes.take(slice(0, None, 2)))
    assert asked == [speed for speed in SPEEDUPS if speed <= highest]
    np.testing.assert_allclose([found for _, found in report.speed_curve], asked, rtol=0.05)


def test_a_confidence_that_is_none_is_refused(exits: ExitCalibration):
    with pytest.raises(ParameterError, match="`confidence` 95"):
        CalibrationReport.of(exits, fingerprint="f00", confidence=95)
