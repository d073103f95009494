import math
from collections.abc import Callable

import pytest

from model.checks import (
    MAX_SEED,
    check_at_least,
    check_confidence,
    check_fraction,
    check_positive,
    check_seed,
)
from model.errors import ParameterError


def at_least_one(value: float) -> None:
    check_at_least("epochs", value, 1)


def fraction(value: float) -> None:
    check_fraction("max_rejected", value)


def positive(value: float) -> None:
    check_positive("learning_rate", value)


@pytest.mark.parametrize(
    ("check", "allowed", "refused", "name"),
    [
        (at_least_one, [1, 2, 1.5], [0, -1, 0.5, math.nan], "epochs"),
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
