"""Tables of what `run.py` and `units.py` counted, from their Parquet files alone."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from benchmarks.markdown import percent, table, times
from benchmarks.promise.cases import SIX_PROMISES
from benchmarks.results import read_results
from model.guarantee.binomial import interval


def data() -> str:
    """Return one paragraph about the redraws."""
    rows, found = read_results("promise")
    cases = rows[rows["dataset"] != SIX_PROMISES]
    effort = found["search_effort"]
    return (
        f"{found['texts']:,} distinct texts a population; {_numbers(cases['redraws'])} redraws of each, two "
        f"thirds of the calibration rows to test; A is {_shares(cases['max_disagreement'])}, at "
        f"{found['confidence']:.0%}; K is the number of labels. Paths of "
        f"{effort['num_coarse']} + {effort['num_fine']} + {effort['num_risks']} thresholds, shorter than a "
        "job's. Share of the redraws, with exact 95 % intervals:"
    )


def broken() -> str:
    """Return the table of promises that were broken."""
    rows, found = read_results("promise")
    cases = rows[rows["dataset"] != SIX_PROMISES]
    cells = [
        (
            _population(row),
            f"{row['calibration_rows']:,.0f}",
            f"**{_share(row['broken'], row['redraws'])}**",
            *(_share(row[f"exceeded_{size}"], row["redraws"]) for size in found["corpora"]),
            *(f"**{_share(row[f'corpus_{size}_broken'], row['redraws'])}**" for size in found["corpora"]),
        )
        for row in cases.to_dict("records")
    ]
    header = (
        "population",
        "calibration rows",
        "promise of the population: broken",
        *(f"it, in a corpus of {size:,}" for size in found["corpora"]),
        *(f"promise of the corpus, {size:,} texts: broken" for size in found["corpora"]),
    )
    return table(header, cells)


def saved() -> str:
    """Return the table of what the promises save, and of how often nothing could be certified."""
    rows, found = read_results("promise")
    cases = rows[rows["dataset"] != SIX_PROMISES]
    kinds = ("population", *(f"corpus_{size}" for size in found["corpora"]))
    cells = [
        (
            _population(row),
            *(times(row[f"{kind}_saved_compute"]) for kind in kinds),
            *(percent(row[f"{kind}_uncertified"] / row["redraws"], 0) for kind in kinds),
        )
        for row in cases.to_dict("records")
    ]
    promises = ("the population", *(f"a corpus of {size:,}" for size in found["corpora"]))
    header = (
        "population",
        f"saved compute, promise of {promises[0]}",
        *promises[1:],
        f"nothing certified, promise of {promises[0]}",
        *promises[1:],
    )
    return table(header, cells)


def six_promises() -> str:
    """Return a sentence about the promises of one calibration together."""
    rows, found = read_results("promise")
    six = rows[rows["dataset"] == SIX_PROMISES].iloc[0]
    each = ", ".join(percent(count / six["redraws"], 1) for count in six["each_broken"])
    promises = ", ".join(f"{share * 100:g}" for share in found["six_promises"])
    return (
        f"Six promises of {int(six['redraws']):,} calibrations on {int(six['calibration_rows']):,} rows, at "
        f"most {promises} %, were broken in {each} of these; any of the six in "
        f"{_share(six['broken'], six['redraws'])}."
    )


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


def _population(row: Mapping[Hashable, Any]) -> str:
    promised = ", ".join(f"{float(share) * 100:g} %" for share in row["labels_promised"])
    return f"{row['dataset']}{f' ({promised})' if promised else ''}, K = {row['labels']}"


def _share(count: float, redraws: float) -> str:
    low, high = interval(int(count), int(redraws), 0.95)
    return f"{percent(count / redraws, 1)} [{low * 100:.1f}, {high * 100:.1f}]"


def _numbers(values: Iterable[float]) -> str:
    return " and ".join(f"{value:,.0f}" for value in sorted(set(values)))


def _shares(values: Iterable[float]) -> str:
    return " and ".join(f"{value * 100:g} %" for value in sorted(set(values)))
