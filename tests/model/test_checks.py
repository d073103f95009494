import math
from collections.abc import Callable

import pytest

from model.checks import (
    MAX_COUNT,
    MAX_SEED,
    check_at_least,
    check_confidence,
    check_count,
    check_fraction,
    check_positive,
    check_seed,
    is_unicode,
)
from model.errors import ParameterError


def at_least_one(value: float) -> None:
    check_at_least("epochs", value, 1)


def count(value: int) -> None:
    check_count("batch_size", value)


def fraction(value: float) -> None:
    check_fraction("max_rejected", value)


def positive(value: float) -> None:
    check_positive("learning_rate", value)


@pytest.mark.parametrize(
    ("check", "allowed", "refused", "name"),
    [
        (at_least_one, [1, 2, 1.5], [0, -1, 0.5, math.nan], "epochs"),
        (count, [1, MAX_COUNT], [0, -1], "batch_size"),
        (positive, [1e-9, 1, 50], [0, -1, math.nan, math.inf], "learning_rate"),
        (fraction, [0, 0.5, 1], [-0.1, 1.1, math.nan, math.inf], "max_rejected"),
        (check_confidence, [0.5, 0.95, 0.999], [0.4, 1, 95, math.nan], "confidence"),
        (check_seed, [0, MAX_SEED], [-1, MAX_SEED + 1], "seed"),
    ],
)
def test_what_is_allowed_passes_and_what_is_not_is_named(
    check: Callable[[float], None], allowed: list[float], refused: list[float], name: str
):
    for value in allowed:
        check(value)
    for value in refused:
        with pytest.raises(ParameterError, match=rf"^`{name}` \S+ is not "):
            check(value)


@pytest.mark.parametrize("value", [MAX_COUNT + 1, 10**20])
def test_a_count_that_can_only_be_a_slip_is_refused(value: int):
    with pytest.raises(ParameterError, match=f"`batch_size` {value} is more than {MAX_COUNT}"):
        count(value)


def test_half_a_character_is_no_text():
    assert is_unicode("naïve 🙂")
    assert not is_unicode("no\ud800")
