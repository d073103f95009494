import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.answers.answer import LabelCuts, OneLabel
from model.answers.scaling import Scaling
from model.guarantee.temperature_scaling import expected_calibration_error, fit_scaling, fit_temperature


def labels_drawn_at(temperature, rows=20_000, num_labels=3):
    """Logits, and labels drawn with the probabilities that the logits give at a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (rows, num_labels)).astype(np.float32)
    scaled = np.exp(logits / temperature)
    ends = (scaled / scaled.sum(1, keepdims=True)).cumsum(1)
    return logits, (rng.random((rows, 1)) > ends).sum(1)


def as_logits(logits, labels):
    """The same, with the logits of a teacher that gives these labels."""
    return logits, np.eye(logits.shape[1], dtype=np.float32)[labels]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_finds_the_temperature_that_labels_were_drawn_at(temperature):
    assert fit_temperature(*as_logits(*labels_drawn_at(temperature)), OneLabel("abc")) == pytest.approx(
        temperature, rel=0.05
    )


@pytest.mark.parametrize("wrong", [True, False])
def test_exits_that_know_nothing_or_all_have_a_temperature_too(wrong):
    labels = np.array([0, 1] * 50)
    logits = np.where(np.eye(2)[labels] == 1, -4.0, 4.0) * (1 if wrong else -1)
    assert 0.04 < fit_temperature(*as_logits(logits.astype(np.float32), labels), OneLabel("ab")) < 21


def test_labels_of_a_set_are_scaled_one_by_one_and_all_else_at_once():
    logits, labels = labels_drawn_at(2.0, rows=500)
    teacher = as_logits(logits, labels)[1] - 0.5
    cuts = dict.fromkeys("abc", 0.5)
    for answer in (OneLabel("abc"), LabelCuts("abc", cuts, one_holds=True)):
        found = fit_scaling(logits, teacher, answer)
        assert found == Scaling.by(fit_temperature(logits, teacher, answer))
    found = fit_scaling(logits, teacher, LabelCuts("abc", cuts, one_holds=False))
    # One in three is each of them, whatever a sigmoid of its logit says.
    assert len(found.temperatures) == 3
    assert max(found.biases) < -0.5


def error_by_hand(confidence, is_right):
    total = 0.0
    for index in range(15):
        upper = np.inf if index == 14 else (index + 1) / 15
        inside = (confidence >= index / 15) & (confidence < upper)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - is_right[inside].mean())
    return total


@given(st.lists(st.tuples(st.integers(0, 1000), st.booleans()), min_size=1, max_size=60))
def test_the_error_is_the_mean_gap_of_the_bins(rows):
    # Off the bins' ends, which rounding may put on either side.
    confidence = np.array([(value + 0.37) / 1001 for value, _ in rows])
    is_right = np.array([right for _, right in rows])
    found = expected_calibration_error(confidence.astype(np.float32), is_right)
    assert found == pytest.approx(error_by_hand(confidence, is_right), abs=1e-5)


def test_the_right_temperature_makes_the_error_small():
    logits, labels = labels_drawn_at(3.0)
    errors = []
    for temperature in (1.0, fit_temperature(*as_logits(logits, labels), OneLabel("abc"))):
        scaled = np.exp(logits / temperature)
        confidence = (scaled / scaled.sum(1, keepdims=True)).max(1)
        errors.append(expected_calibration_error(confidence, logits.argmax(1) == labels))
    assert errors[0] > 0.15
    assert errors[1] < 0.02
