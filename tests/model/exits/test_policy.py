import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.answers.scaling import UNSCALED, Scaling
from model.errors import ParameterError
from model.exits.policy import ExitPolicy, length_scales


@given(st.floats(0, 1), st.integers(2, 30))
def test_a_speed_is_the_threshold_of_every_layer_but_the_last(speed, num_layers):
    policy = ExitPolicy.from_speed(speed, num_layers=num_layers)
    assert policy.num_layers == num_layers
    assert [policy.threshold(layer) for layer in range(1, num_layers)] == [speed] * (num_layers - 1)


@pytest.mark.parametrize("speed", [-0.1, 1.0001, math.nan, math.inf])
def test_a_speed_outside_0_to_1_is_refused(speed):
    with pytest.raises(ParameterError, match="`speed`"):
        ExitPolicy.from_speed(speed, num_layers=3)


def test_all_leave_at_a_fixed_layer_and_none_before():
    for layer in range(1, 5):
        policy = ExitPolicy.from_exit_layer(layer, num_layers=4)
        assert policy.num_layers == 4
        thresholds = [policy.threshold(other) for other in range(1, 4)]
        # Above 1, since at 1 a text of uncertainty 1 would stay.
        assert [threshold > 1 for threshold in thresholds] == [other == layer for other in range(1, 4)]
        assert [threshold for threshold in thresholds if threshold <= 1] == [0.0] * (3 - (layer < 4))


def test_exit_0_is_before_the_first_layer_and_of_no_speed():
    policy = ExitPolicy.from_exit_layer(0, num_layers=4)
    assert (policy.lexical_threshold, policy.thresholds) == (2.0, (0.0, 0.0, 0.0))
    assert policy.threshold(0) == 2.0
    assert policy.runs_branch == (True, False, False, False)
    assert ExitPolicy.from_speed(0.5, num_layers=3).runs_branch == (False, True, True)


@pytest.mark.parametrize("layer", [-1, 5])
def test_a_layer_that_there_is_not_is_refused(layer):
    with pytest.raises(ParameterError, match=r"`exit_layer` .* \(1 to 4\), nor 0, the lexical"):
        ExitPolicy.from_exit_layer(layer, num_layers=4)


def test_names_say_what_was_asked_for():
    assert ExitPolicy.from_speed(0.5, num_layers=2).name == "speed 0.5"
    assert ExitPolicy.from_speed(1, num_layers=2).name == "speed 1"
    assert ExitPolicy.from_exit_layer(2, num_layers=3).name == "fixed exit layer 2"


def test_the_last_layer_has_no_threshold():
    with pytest.raises(IndexError):
        ExitPolicy.from_speed(0.5, num_layers=3).threshold(3)


def test_thresholds_and_scalings_may_be_lists_of_one_length():
    one, other = Scaling.by(0.5), Scaling(temperatures=(1, 2), biases=(0, 0.5))
    policy = ExitPolicy(thresholds=[0.5, 0.25], scalings=[one, other], name="mine")
    assert (policy.thresholds, policy.scalings) == ((0.5, 0.25), (one, other))
    assert [policy.scaling(exit_layer) for exit_layer in range(3)] == [UNSCALED, one, other]
    assert ExitPolicy(thresholds=(0.5, 0.25), name="paper").scalings == (UNSCALED, UNSCALED)
    with pytest.raises(ParameterError, match="`scalings` has 1 values, and `thresholds` 2"):
        ExitPolicy(thresholds=(0.5, 0.25), scalings=(one,), name="mine")


def test_a_long_text_may_be_less_sure():
    lengths = np.array([1, 4, 100])
    assert length_scales(lengths, 0.5).tolist() == [1.0, 2.0, 10.0]
    assert length_scales(lengths, 0.0).tolist() == [1.0, 1.0, 1.0]
    assert length_scales(lengths, 0.5).dtype == np.float32
    assert ExitPolicy.from_speed(0.5, num_layers=3).length_exponent == 0, "the paper's knows no lengths"
