"""What commands and transforms take where nothing is said. Light: nothing here imports Arrow or torch."""

# Minutes of work on a CPU, so that progress shows and a killed job loses little.
ROWS_PER_SHARD = 10_000
_MOST_ROWS_PER_SHARD = 100_000
# Of the rows, so many are for calibration, which takes 20,000 distinct texts and a third of a small corpus:
# 299 test rows are the least for a promise of 1 %, and more of them pay more than texts to train on do.
_CALIBRATION_ROWS = 25_000
_LARGEST_CALIBRATION_FRACTION = 1 / 3
# Where compressed input hides the number of rows.
_CALIBRATION_FRACTION = 0.1


def default_calibration_fraction(num_rows: int | None) -> float:
    """Return which share of a corpus is for calibration, and not for training.

    Args:
        num_rows: of the corpus; None where it is not known.

    >>> [default_calibration_fraction(rows) for rows in (0, 6_000, 250_000, 10_000_000, None)]
    [0.3333, 0.3333, 0.1, 0.0025, 0.1]
    """
    if num_rows is None:
        return _CALIBRATION_FRACTION
    fraction = min(_LARGEST_CALIBRATION_FRACTION, _CALIBRATION_ROWS / max(num_rows, 1))
    return float(f"{fraction:.4g}")


def default_rows_per_shard(saved_compute: float) -> int:
    """Return how many rows are as much work as `ROWS_PER_SHARD` at full depth, 100,000 at most.

    Where most texts leave early, few of a shard's come to the later layers: more rows fill these.

    Args:
        saved_compute: full depth's FLOPs over those to expect.

    >>> import math
    >>> [default_rows_per_shard(saved_compute) for saved_compute in (1.0, 2.345, 97.5, math.inf)]
    [10000, 23000, 100000, 100000]
    """
    # Round numbers, since they are told to users.
    return int(min(_MOST_ROWS_PER_SHARD, float(f"{ROWS_PER_SHARD * saved_compute:.2g}")))
