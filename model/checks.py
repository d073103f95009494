"""Checks of parameters that several configurations share. Light: nothing here imports torch."""

import math

from model.errors import ParameterError

MAX_SEED = 2**31 - 1
# Of epochs, texts of a batch, and the like; what is more fits into no tensor.
MAX_COUNT = 1_000_000
# Of one machine: more processes or threads would bring it down.
MAX_THREADS = 4096
# Of certificates; of many calibrations this share keeps what they promise.
DEFAULT_CONFIDENCE = 0.95
# Fewer calibration rows say nothing, whether they search or test.
MIN_CALIBRATION_ROWS = 100


def check_at_least(name: str, value: float, least: float) -> None:
    """Refuse a number below `least`.

    Raises:
        ParameterError: naming the parameter and the rule.
    """
    if not value >= least:
        raise ParameterError(f"`{name}` {value} is not at least {least}")


def check_count(name: str, value: int, most: int = MAX_COUNT) -> None:
    """Refuse a number of things that is below 1, or so large that it can only be a slip.

    Raises:
        ParameterError: naming the parameter and the rule.
    """
    check_at_least(name, value, 1)
    if value > most:
        raise ParameterError(f"`{name}` {value} is more than {most}")


def check_positive(name: str, value: float) -> None:
    """Refuse a number that is not above 0, or not finite.

    Raises:
        ParameterError: naming the parameter and the rule.
    """
    if not 0 < value < math.inf:
        raise ParameterError(f"`{name}` {value} is not above 0")


def check_fraction(name: str, value: float) -> None:
    """Refuse a share outside [0, 1].

    Raises:
        ParameterError: naming the parameter.
    """
    if not 0 <= value <= 1:
        raise ParameterError(f"`{name}` {value} is not a share, 0 to 1")


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that nothing can be said with.

    Raises:
        ParameterError: naming the parameter.
    """
    if not 0.5 <= confidence < 1:
        raise ParameterError(f"`confidence` {confidence:g} is not at least 0.5 and below 1, as 0.95 for 95 %")


def check_seed(seed: int) -> None:
    """Refuse a seed that a random generator may not take.

    Raises:
        ParameterError: naming the parameter and the rule.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ParameterError(f"`seed` {seed} is not between 0 and {MAX_SEED}")


def is_unicode(text: str) -> bool:
    """Return whether a string is text: JSON's escapes make halves of characters, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
