from dataclasses import fields, replace

import pytest

from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.risk_constraint import Kind
from model.guarantee.unit import Unit
from pipeline.contract.certificate import Certificate, NameBound
from tests.model.exit_populations import CALIBRATED_FOR, LABELS, exit_calibration


@pytest.fixture(scope="module")
def policy() -> CalibratedPolicy:
    found = exit_calibration().policy(max_disagreement=0.05, max_missed={"spam": 0.03}, confidence=0.9)
    return replace(found, speed_curve=((2.0, 2.1),))


def test_a_certificate_says_all_that_the_policy_rests_on(policy: CalibratedPolicy):
    certificate = Certificate.of(policy, LABELS)
    name = "max disagreement 0.05, max missed spam=0.03, confidence 0.9, of the texts"
    assert certificate.policy == policy.name == name
    assert certificate.is_certified
    assert certificate.thresholds == policy.thresholds
    assert (certificate.scalings, certificate.lexical_scaling) == (policy.scalings, policy.lexical_scaling)
    assert (certificate.max_disagreement, certificate.target_speedup) == (0.05, None)
    assert certificate.confidence == 0.9
    risk = policy.risk
    assert (certificate.num_rows, certificate.num_disagreements) == (risk.num_rows, risk.num_disagreements)
    assert certificate.upper_bound == risk.upper_bound <= 0.05
    (spam,) = risk.per_name
    assert certificate.per_name == (
        NameBound(
            name="spam",
            kind=Kind.MISSED,
            share=0.03,
            num_rows=spam.num_rows,
            num_wrong=spam.num_wrong,
            upper_bound=spam.upper_bound,
        ),
    )
    assert spam.upper_bound <= 0.03
    assert certificate.saved_compute == policy.saved_compute > 1
    assert certificate.num_calibration_rows == 6000
    assert certificate.calibrated_for == CALIBRATED_FOR
    assert certificate.speed_curve == ((2.0, 2.1),)
    assert certificate.unit is Unit.TEXTS
    of_rows = replace(exit_calibration(), unit=Unit.ROWS).policy(max_disagreement=0.05)
    assert Certificate.of(of_rows, LABELS).unit is Unit.ROWS


@pytest.mark.parametrize("asked", [{"target_speedup": 2.0}, {"max_disagreement": 1e-5}])
def test_what_is_not_certified_is_not_called_so(asked: dict[str, float]):
    policy = exit_calibration(num_rows=2000).policy(**asked)
    certificate = Certificate.of(policy, LABELS)
    assert not certificate.is_certified
    assert certificate.target_speedup == asked.get("target_speedup")
    assert certificate.max_disagreement == asked.get("max_disagreement")
    assert certificate.note == policy.note
    assert bool(certificate.note) == ("max_disagreement" in asked)


def test_a_certificate_leaves_nothing_of_the_policy_out(policy: CalibratedPolicy):
    told = {field.name for field in fields(Certificate)}
    told |= {field.name for field in fields(policy.risk)}
    rest = {field.name for field in fields(policy)} - told - {"risk", "name"}
    assert rest == set()
