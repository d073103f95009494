"""The table of what `run.py` measured, from its Parquet file alone."""

from benchmarks.families.series import OWN_LAYERS, PACKED, SYSTEMS
from benchmarks.markdown import table, times
from benchmarks.results import read_results


def environment() -> str:
    """Return a sentence about the machine and the rounds."""
    rows, found = read_results("families")
    peaks = [
        f"{group['gemm_gflops'].median():,.0f} GFLOP/s in {precision}"
        for precision, group in rows.groupby("precision", sort=False)
    ]
    return (
        f"{found['cpu']}, {found['threads']} thread, CPU time, since others used the machine too; medians of "
        f"{rows['rounds'].min()} to {rows['rounds'].max()} rounds, all systems in turn. GEMM peak meanwhile: "
        f"{', '.join(peaks)}. torch {found['versions']['torch']}, "
        f"transformers {found['versions']['transformers']}."
    )


def speeds() -> str:
    """Return the table of rows per second of CPU time, and their ratios."""
    rows, _ = read_results("families")
    cells = []
    keys = ["model", "precision", "texts"]
    for (model, precision, texts), group in rows.groupby(keys, sort=False):
        by_system = group.set_index("system")
        ratios = by_system["to_pipeline"]
        cells.append(
            (
                model,
                precision,
                f"{texts}, {by_system['tokens'].iloc[0]:.0f} tokens",
                f"{by_system['rounds'].iloc[0]}",
                *(f"{by_system.loc[system, 'rows_per_second']:.2f}" for system in SYSTEMS),
                times(ratios[OWN_LAYERS]),
                f"**{times(ratios[PACKED])}**",
                times(ratios[PACKED] / ratios[OWN_LAYERS]),
            )
        )
    header = (
        "shape",
        "precision",
        "texts",
        "rounds",
        "`pipeline`, rows/s",
        "its own layers, rows/s",
        "packed, rows/s",
        "its own layers / `pipeline`",
        "packed / `pipeline`",
        "packed / its own layers",
    )
    return table(header, cells)
