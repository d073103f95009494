"""Tables of what was counted, from the Parquet files alone."""

from benchmarks.markdown import percent, table
from benchmarks.results import read_results
from model.guarantee.binomial import interval


def unit_data() -> str:
    """Return a sentence about the redraws."""
    _, found = read_results("promise_unit")
    return (
        f"{found['redraws']:,} redraws of {found['calibration_rows']:,} calibration rows each, for at most "
        f"{percent(found['share'], 0)} at 95 %; how often the promise was broken, or the alarm false, with "
        "exact 95 % intervals."
    )


def units() -> str:
    """Return in how many redraws a promise is broken where something else was drawn than is promised."""
    rows, found = read_results("promise_unit")
    cells = [
        (row.what, *(_share(count, found["redraws"]) for count in (row.otherwise, row.as_meant)))
        for row in rows.itertuples()
    ]
    return table(("", "the first", "the second, as it is done here"), cells)


def _share(count: int, redraws: int) -> str:
    low, high = interval(count, redraws, 0.95)
    return f"{percent(count / redraws, 1)} [{100 * low:.1f}, {100 * high:.1f}]"
