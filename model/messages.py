"""Words that messages share."""


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


def format_labels(labels: tuple[str, ...]) -> str:
    """Return the first label names, for a message."""
    return ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")


def format_ratio(ratio: float) -> str:
    """Return how many times as much something is.

    >>> [format_ratio(ratio) for ratio in (1.0, 12.345, 4321.0)]
    ['1.00x', '12.35x', '4,321x']
    """
    return f"{ratio:.2f}x" if ratio < 100 else f"{ratio:,.0f}x"
