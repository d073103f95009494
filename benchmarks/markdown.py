"""Tables in Markdown."""

from collections.abc import Iterable, Sequence

import pandas as pd

from model.messages import format_ratio


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table.

    >>> print(table(("a", "b"), [("1", "2")]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))


def times(value: float) -> str:
    """Return a ratio as people write it: what is left above a thousand is chance.

    >>> times(2.718), times(935.2), times(472_780.2)
    ('2.72x', '935x', 'over 1,000x')
    """
    return "over 1,000x" if value > 1000 else format_ratio(value)


def percent(value: float, digits: int = 2) -> str:
    """Return a share as a percentage.

    >>> percent(0.0074), percent(0.002, 1)
    ('0.74 %', '0.2 %')
    """
    return f"{value * 100:.{digits}f} %"


def rate(value: float) -> str:
    """Return rows per second: four digits below 100, whole numbers above.

    >>> rate(95.4321), rate(1717.2)
    ('95.43', '1,717')
    """
    return f"{value:,.4g}" if value < 100 else f"{value:,.0f}"


def blank_if_missing(value: float, form: str) -> str:
    """Return a formatted number, or nothing where there is none."""
    return "" if pd.isna(value) else form.format(value)
