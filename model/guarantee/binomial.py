"""Exact binomial statements about a share, from rows drawn independently of each other.

All of them are one-sided and hold for any number of rows: no normal approximation.
"""

import math

from scipy.special import bdtr, betaincinv


def p_value(num_errors: int, num_rows: int, share: float) -> float:
    """Return how likely so few errors are where the true share of errors is `share` or above.

    Args:
        num_errors: that were seen.
        num_rows: that were looked at; of none every share is as likely as not, and 1 is returned.
        share: the null hypothesis, in (0, 1).

    Returns:
        P(X <= num_errors), X ~ Binomial(num_rows, share).

    >>> round(p_value(0, 299, 0.01), 4), round(p_value(0, 298, 0.01), 4)
    (0.0495, 0.05)
    """
    return float(bdtr(num_errors, num_rows, share)) if num_rows else 1.0


def upper_bound(num_errors: int, num_rows: int, confidence: float) -> float:
    """Return the share that the true one does not exceed, at `confidence` (Clopper and Pearson 1934).

    >>> round(upper_bound(0, 299, 0.95), 5), round(upper_bound(83, 10_000, 0.95), 5)
    (0.00997, 0.00995)
    """
    if num_errors >= num_rows:
        return 1.0
    return float(betaincinv(num_errors + 1, num_rows - num_errors, confidence))


def interval(num_errors: int, num_rows: int, confidence: float) -> tuple[float, float]:
    """Return the shares that the true one lies between, at `confidence` (Clopper and Pearson 1934).

    >>> [round(share, 4) for share in interval(1, 16, 0.95)]
    [0.0016, 0.3023]
    >>> interval(0, 0, 0.95)
    (0.0, 1.0)
    """
    one_sided = (1 + confidence) / 2
    above = 1 - upper_bound(num_rows - num_errors, num_rows, one_sided)
    return above, upper_bound(num_errors, num_rows, one_sided)


def rows_needed(share: float, confidence: float, *, error_rate: float = 0.0) -> int | None:
    """Return how many rows show that the share of errors is at most `share`, if errors come at a rate.

    Args:
        share: to be shown, in (0, 1).
        confidence: to be shown with, in (0, 1).
        error_rate: share of errors to expect among the rows.

    Returns:
        About the least number of rows; None where no number would do.

    >>> [rows_needed(0.01, 0.95, error_rate=rate) for rate in (0.0, 0.008, 0.02)]
    [299, 6657, None]
    """
    if error_rate >= share:
        return None

    def is_enough(num_rows: int) -> bool:
        return p_value(math.floor(error_rate * num_rows), num_rows, share) <= 1 - confidence

    enough = 1
    while not is_enough(enough):
        enough *= 2
    short = enough // 2
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if is_enough(middle) else (middle, enough)
    return enough
