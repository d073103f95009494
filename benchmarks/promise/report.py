"""Tables of what `run.py` counted, from its Parquet file alone."""

from collections.abc import Iterable

import pandas as pd

from benchmarks.markdown import percent, table, times
from benchmarks.promise.cases import SIX_PROMISES
from benchmarks.results import read_results
from model.guarantee.binomial import interval


def data() -> str:
    """Return one paragraph about the redraws."""
    rows, found = read_results("promise")
    cases, _ = _cases_and_six(rows)
    effort = found["search_effort"]
    return (
        f"{found['texts']:,} distinct texts a population; {_numbers(cases['redraws'])} redraws of each, two "
        f"thirds of the calibration rows to test; A is {_shares(cases['max_disagreement'])}, and of promised "
        f"labels {_shares(float(share) for row in cases['labels_promised'] for share in row)}, all at "
        f"{found['confidence']:.0%}. Paths of {effort['num_coarse']} + {effort['num_fine']} + "
        f"{effort['num_risks']} thresholds, shorter than a job's. Share of the redraws, with exact 95 % "
        "intervals:"
    )


def broken() -> str:
    """Return the table of promises that were broken."""
    rows, found = read_results("promise")
    cases, _ = _cases_and_six(rows)
    cells = [
        (
            f"{row['dataset']}, {row['labels']} labels",
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
    cases, _ = _cases_and_six(rows)
    kinds = ("population", *(f"corpus_{size}" for size in found["corpora"]))
    cells = [
        (
            f"{row['dataset']}, {row['labels']} labels",
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
    _, six = _cases_and_six(rows)
    each = ", ".join(percent(count / six["redraws"], 1) for count in six["each_broken"])
    promises = ", ".join(f"{share * 100:g}" for share in found["six_promises"])
    return (
        f"Six promises of {int(six['redraws']):,} calibrations on {int(six['calibration_rows']):,} rows, at "
        f"most {promises} %, were broken in {each} of these; any of the six in "
        f"{_share(six['broken'], six['redraws'])}."
    )


def _cases_and_six(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    is_six = rows["dataset"] == SIX_PROMISES
    return rows[~is_six], rows[is_six].iloc[0]


def _share(count: float, redraws: float) -> str:
    low, high = interval(int(count), int(redraws), 0.95)
    return f"{percent(count / redraws, 1)} [{low * 100:.1f}, {high * 100:.1f}]"


def _numbers(values: Iterable[float]) -> str:
    return " and ".join(f"{value:,.0f}" for value in sorted(set(values)))


def _shares(values: Iterable[float]) -> str:
    return " and ".join(f"{value * 100:g} %" for value in sorted(set(values)))
