import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig

from model.cost.flops import PAPER_LENGTH
from model.cost.network_flops import flops_model
from model.errors import ParameterError
from model.exits.policy import ExitPolicy
from pipeline.sampling.shadow_sample import (
    check_shadow_sample,
    default_shadow_fraction,
    expected_saved_compute,
    shadow_fraction_of,
)

FLOPS = flops_model(
    BertConfig(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64)
)


@given(st.integers(1, 10**9), st.floats(1, 500))
def test_a_thousand_rows_or_as_many_as_a_twentieth_of_the_compute_buys(num_rows: int, saved: float):
    fraction = default_shadow_fraction(num_rows, saved)
    extra = fraction * (saved - 1)
    assert extra <= 0.05 * 1.001
    wanted = min(max(0.001, 1000 / num_rows), 1.0)
    assert fraction <= wanted * 1.001
    if extra < 0.05 * 0.999:
        assert fraction == pytest.approx(wanted, rel=1e-3)


def test_what_is_asked_for_is_what_there_is():
    assert shadow_fraction_of(0.25, None, num_rows=10, saved_compute=9.0) == 0.25
    assert shadow_fraction_of(None, 500, num_rows=10_000, saved_compute=9.0) == 0.05
    assert shadow_fraction_of(None, 0, num_rows=10_000, saved_compute=9.0) == 0.0
    assert shadow_fraction_of(None, None, num_rows=None, saved_compute=1.5) == 0.001


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ((1.5, None, 9), "is not a share"),
        ((0.5, 3, 9), "give one of"),
        ((None, -1, 9), "must be at least 0"),
        ((None, 3, None), "how many rows compressed input holds"),
    ],
)
def test_what_no_sample_can_be_drawn_by_is_refused(given_: tuple, message: str):
    with pytest.raises(ParameterError, match=message):
        check_shadow_sample(*given_)


@pytest.mark.parametrize("exit_layer", [1, 2, 3, 4])
def test_without_a_calibration_all_are_taken_to_leave_at_the_first_exit(exit_layer: int):
    policy = ExitPolicy.from_exit_layer(exit_layer, num_layers=4)
    length = np.array([PAPER_LENGTH])
    run = FLOPS.with_exits(length, np.array([exit_layer], dtype=np.int16), policy)
    assert expected_saved_compute(policy, FLOPS) == FLOPS.full_depth(length)[0] / run[0]
    assert expected_saved_compute(ExitPolicy.from_speed(0, num_layers=4), FLOPS) == 1.0
