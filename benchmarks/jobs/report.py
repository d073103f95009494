"""Tables of what the scripts beside it measured, from their Parquet files alone."""

import math

import pandas as pd

from benchmarks.markdown import blank_if_missing, percent, rate, table, times
from benchmarks.results import read_results

_MIB_PER_GIB = 1024


def rates() -> str:
    """Return the table of rates of our own jobs, and how they were measured."""
    rows, found = read_results("job_rates")
    precisions = list(dict.fromkeys(rows["precision"]))
    cells = []
    for comparison, group in rows.groupby("comparison", sort=False):
        by_precision = group.set_index("precision")
        cells.append((f"{comparison}, rows/s", *(_ratio(by_precision.loc[name]) for name in precisions)))
    return (
        table(("", *precisions), cells)
        + f"\n\n{found['rows']:,} rows of {found['texts']}, {found['threads']} threads, torch "
        f"{found['versions']['torch']}, medians of {found['rounds']} rounds. `fastbert-jobs --help` takes "
        f"{found['help_seconds']:.2f} s."
    )


def _ratio(row: pd.Series) -> str:
    first, second = row["first_rows_per_second"], row["second_rows_per_second"]
    return f"{first / second:.2f} ({first:,.0f} / {second:,.0f})"


def engines() -> str:
    """Return the table of one job on every engine that was at hand, and what the job was."""
    rows, found = read_results("engines")
    cells = [
        (row.engine, "yes" if row.bytes_equal else "**no**", f"{row.seconds:.0f}")
        for row in rows.itertuples()
    ]
    return (
        table(("engine", "bytes equal", "seconds, the start of engine and workers included"), cells)
        + f"\n\n{found['rows']:,} rows in {found['items']} items, {found['layers']} layers, one thread a "
        f"process, {found['cores']} cores whose load was {found['load']:.1f} before: seconds say how long it "
        "took there, and not which engine is the faster."
    )


def wall_clock() -> str:
    """Return the table of what promises save on the clock, and how it was measured."""
    rows, found = read_results("wall_clock")
    header = (
        "data set", "precision", "asked for", "saved compute", "with the shadow sample", "full depth, rows/s",
        "rows/s", "faster", "faster / saved compute", "/ with the shadow sample", "GEMM peak, GFLOP/s",
    )  # fmt: skip
    cells = []
    for row in rows.itertuples():
        faster = row.rows_per_second / row.full_depth_rows_per_second
        cells.append(
            (
                row.dataset,
                row.precision,
                _asked(row.max_disagreement, row.target_speedup),
                times(row.saved_compute),
                blank_if_missing(row.saved_compute_with_shadow, "{:.2f}x"),
                rate(row.full_depth_rows_per_second),
                rate(row.rows_per_second),
                times(faster),
                f"**{faster / row.saved_compute:.2f}**",
                blank_if_missing(faster / row.saved_compute_with_shadow, "{:.2f}"),
                f"{row.gemm_gflops:,.0f}",
            )
        )
    return (
        table(header, cells)
        + f"\n\n{found['cpu']}, {found['threads']} threads, medians of {found['rounds']} rounds."
    )


def _asked(max_disagreement: float, target_speedup: float) -> str:
    """Return what a job was asked for, of which one is NaN."""
    if math.isnan(target_speedup):
        return f"at most {percent(max_disagreement, 1)}"
    return f"{target_speedup:g}x"


def peak_memory() -> str:
    """Return the table of peak memory by corpus size."""
    rows, _ = read_results("peak_memory")
    cells = [
        (
            row.texts,
            row.format,
            f"{row.rows:,}",
            row.precision,
            f"{row.kernel_cache_capacity:,.0f}",
            _memory(row.peak_mib),
        )
        for row in rows.itertuples()
    ]
    header = ("texts and model", "format", "rows", "precision", "oneDNN kernel cache", "peak memory")
    return table(header, cells)


def _memory(mib: float) -> str:
    return f"{mib / _MIB_PER_GIB:.2f} GiB" if mib >= _MIB_PER_GIB else f"{mib:,.0f} MiB"
