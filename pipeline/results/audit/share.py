"""A share of some rows, never told without what so many of them can tell."""

from __future__ import annotations

from dataclasses import dataclass

from model.checks import DEFAULT_CONFIDENCE
from model.guarantee.binomial import interval


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of some rows are something.

    Attributes:
        part: those that are.
        whole: all of them.
        low: the share of all such rows is at least this, at 95 % with `high` (Clopper and Pearson 1934).
        high: and at most this.
    """

    part: int
    whole: int
    low: float
    high: float

    @classmethod
    def of(cls, part: int, whole: int) -> Share:
        """Return the share with its interval.

        >>> share = Share.of(1, 16)
        >>> str(share)
        '6.25% (0.16% to 30.23%)'
        >>> str(Share.of(0, 0))
        'unknown'
        """
        low, high = interval(part, whole, DEFAULT_CONFIDENCE)
        return cls(part=part, whole=whole, low=low, high=high)

    @property
    def value(self) -> float | None:
        """The share; None of no rows."""
        return self.part / self.whole if self.whole else None

    def __str__(self) -> str:
        if self.value is None:
            return "unknown"
        return f"{self.value:.2%} ({self.low:.2%} to {self.high:.2%})"
