"""The table of what `run.py` measured, from its Parquet file alone."""

from benchmarks.markdown import blank_if_missing, percent, table, times
from benchmarks.results import read_results


def full_depth() -> str:
    """Return one sentence per dataset: full depth against the Hugging Face model."""
    _, found = read_results("early_exit")
    return "\n".join(
        f"{name}, speed 0 against the Hugging Face model: {each['equal_labels']:,} of {each['rows']:,} "
        f"labels equal, largest difference of a logit {each['largest_logit_difference']:.1e}."
        for name, each in found["full_depth"].items()
    )


def speeds() -> str:
    """Return the table of the paper's knob."""
    rows, _ = read_results("early_exit")
    cells = [
        (
            row.dataset,
            f"{row.speed:.4g}",
            f"{row.mean_exit_layer:.2f}",
            times(row.paper_saved_compute),
            times(row.saved_compute),
            times(row.wall_clock),
            percent(row.agreement),
            blank_if_missing(row.accuracy, "{:.2%}").replace("%", " %"),
        )
        for row in rows.itertuples()
    ]
    header = (
        "texts",
        "`--speed`",
        "mean exit layer",
        "saved compute, paper's count",
        "saved compute",
        "rows/s to full depth",
        "agreement",
        "accuracy",
    )
    return table(header, cells)
