"""Tables of what `run.py` counted, from its Parquet files alone."""

from benchmarks.markdown import percent, table, times
from benchmarks.results import read_results
from model.guarantee.binomial import interval


def corpora() -> str:
    """Return in how many redraws promises of all texts and of one corpus are broken."""
    rows, found = read_results("promise_corpus")
    redraws, sizes = found["redraws"], found["corpora"]
    cells = [
        (
            row.population + (f", and of {row.labels_promised} labels" if row.labels_promised else ""),
            _share(row.broken, redraws),
            *(percent(count / redraws, 1) for count in row.broken_of_all),
            *(f"**{percent(count / redraws, 1)}**" for count in row.broken_of_corpus),
            times(row.saved_of_all),
            " / ".join(times(saved) for saved in row.saved_of_corpus),
        )
        for row in rows.itertuples()
    ]
    header = (
        "population",
        "of all texts: broken there",
        *(f"in a corpus of {size:,}" for size in sizes),
        *(f"of the corpus: in one of {size:,}" for size in sizes),
        "saved compute, of all texts",
        "of the corpus",
    )
    return table(header, cells)


def units() -> str:
    """Return in how many redraws a promise is broken where something else was drawn than is promised."""
    rows, found = read_results("promise_unit")
    cells = [
        (row.what, _share(row.otherwise, found["redraws"]), _share(row.as_meant, found["redraws"]))
        for row in rows.itertuples()
    ]
    return table(("", "the first", "the second"), cells)


def data() -> str:
    """Return a sentence about the redraws."""
    _, found = read_results("promise_corpus")
    return (
        f"{found['redraws']:,} redraws of {found['calibration_rows']:,} calibration rows each, for at most "
        f"{percent(found['share'], 0)} at 95 %."
    )


def _share(count: int, redraws: int) -> str:
    low, high = interval(count, redraws, 0.95)
    return f"{percent(count / redraws, 1)} [{100 * low:.1f}, {100 * high:.1f}]"
