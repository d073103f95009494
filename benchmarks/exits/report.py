"""Tables of what `run.py` measured, from its Parquet file alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from benchmarks.markdown import percent, table, times
from benchmarks.results import read_results

_SHOWN = (0.005, 0.01, 0.02, 0.05)
# What `of_promises` tells.
PROMISES = (*(f"saved compute at {percent(share, 1)}" for share in _SHOWN), "certificates broken")
# What is told of every model, behind what it is.
_MEASURED = ("agreement of exit 0", "the first", "middle", "last branch", *PROMISES)
# In README.md: what a user gets who gives no options, at these promises.
_DEFAULT_MODEL = "pooling, exit 0"
_HEADLINE, _HEADLINE_SHARES = 0.01, (0.005, 0.01, 0.02)


def summary() -> str:
    """Return the table of README.md."""
    rows, found = read_results("exits")
    cells = []
    for row in rows[rows["model"] == _DEFAULT_MODEL].itertuples():
        shares = list(row.shares)
        at = dict(zip(shares, row.saved_compute, strict=True))
        place = shares.index(_HEADLINE)
        cells.append(
            (
                f"{row.dataset}, {row.labels} labels",
                f"{row.layers}",
                f"{row.train_rows:,} and {row.calibration_rows:,}",
                *(f"**{times(at[share])}**" for share in _HEADLINE_SHARES),
                percent(row.disagreement[place]),
                f"{row.broken[place]} of {found['redraws']}",
            )
        )
    header = (
        "texts", "layers", "unlabelled texts to train and calibrate with",
        *(f"saved compute at {percent(share, 1)}" for share in _HEADLINE_SHARES),
        f"at {percent(_HEADLINE, 1)}: disagreement on fresh texts", "certificates broken",
    )  # fmt: skip
    return table(header, cells)


def designs() -> str:
    """Return one row for each data set and model: agreement, and the compute that promises save."""
    rows, found = read_results("exits")
    cells = [
        (
            row.dataset,
            f"{row.labels}",
            f"{row.train_rows:,}",
            f"{row.calibration_rows:,}",
            row.model,
            "" if pd.isna(row.exit_0) else percent(row.exit_0, 1),
            *_of_branches(row.agreement),
            *of_promises(row, found["redraws"]),
        )
        for row in rows.itertuples()
    ]
    header = ("data set", "labels", "texts to train on", "to calibrate with", "branches", *_MEASURED)
    return table(header, cells)


def by_texts() -> str:
    """Return one row for each data set and number of texts that branches learnt from."""
    rows, found = read_results("exits_by_texts")
    cells = [
        (
            row.dataset,
            f"{row.train_rows:,}",
            f"{row.calibration_rows:,}",
            percent(row.agreement[0], 1),
            *_of_branches(row.agreement[1:]),
            *of_promises(row, found["redraws"]),
        )
        for row in rows.itertuples()
    ]
    return table(("data set", "texts to train on", "to calibrate with", *_MEASURED), cells)


def _of_branches(agreement: Sequence[float]) -> Iterator[str]:
    """Yield the agreement of the first, the middle and the last of the layers' branches."""
    return (percent(agreement[index], 1) for index in (0, len(agreement) // 2, -1))


def of_promises(row: Any, redraws: int) -> Iterator[str]:
    """Yield what the promises shown save, and how many of all were broken."""
    at = dict(zip(row.shares, row.saved_compute, strict=True))
    yield from (times(at[share]) for share in _SHOWN)
    yield f"{sum(row.broken)} of {len(row.broken) * redraws}"


def environment() -> str:
    """Return a sentence about the machine and the redraws."""
    return environment_of("exits")


def environment_of(name: str) -> str:
    """Return it of `benchmarks/NAME.parquet`."""
    _, found = read_results(name)
    return (
        f"{found['cpu']}, {found['threads']} threads, {found['precision']}; {found['redraws']} redraws, "
        f"medians on fresh rows, {found['confidence']:.0%} confidence."
    )
