"""Words that messages share."""

import re
from decimal import Decimal

# What moves the cursor, colours, ends a line, or turns the order of writing round.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text for a terminal: what would do something there is spelt out.

    >>> print(printable("a\x1b[31mb\n"))
    a\x1b[31mb\n
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def first_line(error: BaseException) -> str:
    r"""Return the first line of what `error` says, its type's name where it says nothing.

    >>> first_line(ValueError("field 'size':\n    no number\nsee https://..."))
    "field 'size': no number"
    """
    lines = str(error).strip().splitlines()
    # The first line of some is but a heading.
    heading = 2 if lines and lines[0].endswith(":") else 1
    return " ".join(line.strip() for line in lines[:heading]) or type(error).__name__


def one_line(error: BaseException) -> str:
    """Return all that `error` says, in one line; its type's name where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def shortened(text: str, most: int) -> str:
    """Return a text, or its first `most` characters and three dots.

    >>> shortened("four", 4), shortened("fives", 4)
    ('four', 'five...')
    """
    return text if len(text) <= most else f"{text[:most]}..."


def format_labels(labels: tuple[str, ...]) -> str:
    """Return the first label names, for a message."""
    return ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")


def format_share(share: float, digits: int = 2) -> str:
    """Return a share that somebody asked for, never rounded: a promise is not told as a stricter one.

    Args:
        share: in [0, 1].
        digits: of the percentage behind the point, where these are enough.

    >>> [format_share(share) for share in (0.01, 0.00125, 0.00004)]
    ['1.00%', '0.125%', '0.004%']
    >>> [format_share(confidence, 0) for confidence in (0.95, 0.995, 0.07)]
    ['95%', '99.5%', '7%']
    """
    exact = (Decimal(repr(float(share))) * 100).normalize()
    rounded = f"{share:.{digits}%}"
    return rounded if Decimal(rounded[:-1]) == exact else f"{exact:f}%"


def format_ratio(ratio: float) -> str:
    """Return how many times as much something is.

    >>> [format_ratio(ratio) for ratio in (1.0, 12.345, 4321.0)]
    ['1.00x', '12.35x', '4,321x']
    """
    return f"{ratio:.2f}x" if ratio < 100 else f"{ratio:,.0f}x"
