import re
from types import SimpleNamespace
from typing import Any

import pytest

from model.errors import ParameterError
from model.guarantee.drift import Drift
from model.guarantee.promise_check import Finding
from pipeline.results.audit.alarms import Condition
from pipeline.results.audit.share import Share


def report(**given: Any) -> Any:
    """What conditions look at."""
    told = {
        "agreement": Share.of(990, 1000), "rejected": Share.of(1, 100), "accuracy": Share.of(80, 100),
        "found": 3.0, "drift": Drift.NONE, "finding": Finding.STANDS, "shadow_fraction": 0.01,
    } | given  # fmt: skip
    accuracy = told["accuracy"]
    return SimpleNamespace(
        agreement=SimpleNamespace(overall=told["agreement"]),
        job=SimpleNamespace(rejected=told["rejected"], shadow_fraction=told["shadow_fraction"]),
        labelled=accuracy and SimpleNamespace(overall=SimpleNamespace(accuracy=accuracy)),
        savings=SimpleNamespace(found=told["found"]),
        drift=told["drift"] and SimpleNamespace(verdict=told["drift"]),
        promise=SimpleNamespace(finding=told["finding"], verdict="said"),
    )


@pytest.mark.parametrize(
    ("condition", "given", "fails"),
    [
        ("disagreement>0.01", {}, False),
        # 1 % [0.5, 1.8]: what noise may do fails nothing.
        ("disagreement>0.006", {}, False),
        ("disagreement>0.004", {}, True),
        ("disagreement>4e-3", {}, True),
        ("disagreement > 0.01", {"agreement": Share.of(900, 1000)}, True),
        ("disagreement>0.01", {"agreement": Share.of(0, 0)}, False),
        ("rejected>0.01", {}, False),
        ("rejected>0.009", {}, True),
        ("accuracy<0.85", {}, False),
        ("accuracy<0.9", {}, True),
        ("saved_compute<3", {}, False),
        ("saved_compute<3.5", {}, True),
        ("drift", {}, False),
        ("drift", {"drift": Drift.UNTOLD}, False),
        ("drift", {"drift": Drift.DRIFTED}, True),
        ("contradicted", {"finding": Finding.UNTOLD}, False),
        ("contradicted", {"finding": Finding.CONTRADICTED}, True),
    ],
)
def test_a_job_fails_on_what_is_shown(condition: str, given: dict[str, Any], fails: bool):
    alarm = Condition.parse(condition).alarm(report(**given))
    assert (alarm is not None) is fails
    if alarm:
        name, sign = re.match(r"(\w+)\s*([<>]?)", condition).groups()
        assert alarm.startswith(name + sign)


@pytest.mark.parametrize(
    "text", ["", "disagreement", "disagreement<0.1", "drift>1", "agreement>1", "rejected>"]
)
def test_what_is_no_condition_is_refused(text: str):
    with pytest.raises(ParameterError, match="is none of disagreement>NUMBER, rejected>NUMBER, accuracy<"):
        Condition.parse(text)


@pytest.mark.parametrize("value", ["x", "-1", "nan", "inf", "1%"])
def test_a_number_that_is_none_is_refused(value: str):
    with pytest.raises(ParameterError, match=f"{value} is no number from 0 on"):
        Condition.parse(f"rejected>{value}")


@pytest.mark.parametrize(
    ("condition", "given", "why"),
    [
        ("contradicted", {"finding": Finding.NO_PROMISE}, "nothing was promised of this job"),
        ("drift", {"drift": None}, "nothing is known of the texts that it was calibrated with"),
        ("disagreement>0.1", {"shadow_fraction": 0.0}, "the job has no shadow sample"),
    ],
)
def test_what_could_fail_no_job_is_refused(condition: str, given: dict[str, Any], why: str):
    name = condition.partition(">")[0]
    with pytest.raises(ParameterError, match=f"`fail_on` {name} could fail no job like this: {why}"):
        Condition.parse(condition).alarm(report(**given))
    assert Condition.parse("rejected>0.5").alarm(report(**given)) is None


def test_accuracy_wants_labels():
    with pytest.raises(ParameterError, match="give `labels_input`"):
        Condition.parse("accuracy<0.5").alarm(report(accuracy=None))
