"""The table of what `run.py` measured, from its Parquet file alone."""

from benchmarks.markdown import percent, table, times
from benchmarks.results import read_results
from model.training.distillation_config import DistillationConfig

_SHOWN = (0.005, 0.01, 0.02)


def weights() -> str:
    """Return one row for each data set and weight."""
    rows, found = read_results("true_labels")
    default = DistillationConfig().true_label_weight
    cells = []
    for row in rows.itertuples():
        at = dict(zip(row.shares, row.saved_compute, strict=True))
        weight = f"{row.weight:g}"
        cells.append(
            (
                f"{row.dataset}, {row.labels} labels",
                f"**{weight}**" if row.weight == default else weight,
                ", ".join(percent(share, 1) for share in row.agreement),
                ", ".join(percent(share, 1) for share in row.accuracy[:-1]),
                percent(row.accuracy[-1], 1),
                *(times(at[share]) for share in _SHOWN),
                f"{sum(row.broken)} of {len(row.broken) * found['redraws']}",
            )
        )
    header = (
        "data set", "weight", "agreement of exits 0, 1, ...", "right answers of exits 0, 1, ...",
        "the teacher's",
        *(f"saved compute at {percent(share, 1)}" for share in _SHOWN), "certificates broken",
    )  # fmt: skip
    return table(header, cells)


def environment() -> str:
    """Return a sentence about the machine and the redraws."""
    _, found = read_results("true_labels")
    return (
        f"{found['cpu']}, {found['threads']} threads, {found['precision']}; {found['redraws']} redraws, "
        "medians on fresh rows."
    )
