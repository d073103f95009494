"""The table of what `run.py` measured, from its Parquet file alone."""

from benchmarks.exits.report import PROMISES, environment_of, of_promises
from benchmarks.markdown import percent, table
from benchmarks.results import read_results
from model.training.distillation_config import DistillationConfig


def weights() -> str:
    """Return one row for each data set and weight."""
    rows, found = read_results("true_labels")
    default = DistillationConfig().true_label_weight
    cells = []
    for row in rows.itertuples():
        weight = f"{row.weight:g}"
        cells.append(
            (
                f"{row.dataset}, {row.labels} labels",
                f"**{weight}**" if row.weight == default else weight,
                ", ".join(percent(share, 1) for share in row.agreement),
                ", ".join(percent(share, 1) for share in row.accuracy[:-1]),
                percent(row.accuracy[-1], 1),
                *of_promises(row, found["redraws"]),
            )
        )
    header = (
        "data set", "weight", "agreement of exits 0, 1, ...", "right answers of exits 0, 1, ...",
        "the teacher's", *PROMISES,
    )  # fmt: skip
    return table(header, cells)


def environment() -> str:
    """Return a sentence about the machine and the redraws."""
    return environment_of("true_labels")
