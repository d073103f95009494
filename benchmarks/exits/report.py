"""Tables of what `run.py` measured, from its Parquet file alone."""

import pandas as pd

from benchmarks.markdown import percent, table, times
from benchmarks.results import read_results

_SHOWN = (0.005, 0.01, 0.02, 0.05)
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
    cells = []
    for row in rows.itertuples():
        at = dict(zip(row.shares, row.saved_compute, strict=True))
        middle = len(row.agreement) // 2
        cells.append(
            (
                row.dataset,
                f"{row.labels}",
                f"{row.train_rows:,}",
                f"{row.calibration_rows:,}",
                row.model,
                "" if pd.isna(row.exit_0) else percent(row.exit_0, 1),
                *(percent(row.agreement[index], 1) for index in (0, middle, -1)),
                *(times(at[share]) for share in _SHOWN),
                f"{sum(row.broken)} of {len(row.broken) * found['redraws']}",
            )
        )
    header = (
        "data set", "labels", "texts to train on", "to calibrate with", "branches",
        "agreement of exit 0", "the first", "middle", "last branch",
        *(f"saved compute at {percent(share, 1)}" for share in _SHOWN), "certificates broken",
    )  # fmt: skip
    return table(header, cells)


def by_texts() -> str:
    """Return one row for each data set and number of texts that branches learnt from."""
    rows, found = read_results("exits_by_texts")
    cells = []
    for row in rows.itertuples():
        at = dict(zip(row.shares, row.saved_compute, strict=True))
        middle = (len(row.agreement) - 1) // 2 + 1
        cells.append(
            (
                row.dataset,
                f"{row.train_rows:,}",
                f"{row.calibration_rows:,}",
                *(percent(row.agreement[index], 1) for index in (0, 1, middle, -1)),
                *(times(at[share]) for share in _SHOWN),
                f"{sum(row.broken)} of {len(row.broken) * found['redraws']}",
            )
        )
    header = (
        "data set", "texts to train on", "to calibrate with",
        "agreement of exit 0", "the first", "middle", "last branch",
        *(f"saved compute at {percent(share, 1)}" for share in _SHOWN), "certificates broken",
    )  # fmt: skip
    return table(header, cells)


def environment() -> str:
    """Return a sentence about the machine and the redraws."""
    _, found = read_results("exits")
    return (
        f"{found['cpu']}, {found['threads']} threads, {found['precision']}; {found['redraws']} redraws, "
        f"medians on fresh rows, {found['confidence']:.0%} confidence."
    )
