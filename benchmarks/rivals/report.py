"""Table and plot of what `run.py` measured, from its Parquet file alone."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from benchmarks import agreement_plot
from benchmarks.agreement_plot import BLUE, GREEN, PURPLE, SKY_BLUE, VERMILION
from benchmarks.markdown import percent, rate, table
from benchmarks.results import read_results
from benchmarks.rivals.series import FULL_DEPTH, LEXICAL, OTHERS, PROMISE, STUDENT

STYLES = {
    PROMISE: {"color": BLUE, "marker": "o", "label": "fastbert-jobs score --max-disagreement"},
    FULL_DEPTH: {"color": SKY_BLUE, "marker": "s", "label": "fastbert-jobs score, full depth"},
    LEXICAL: {"color": PURPLE, "marker": "v", "label": "fastbert-jobs score, exit 0 alone"},
    STUDENT: {"color": GREEN, "marker": "^", "label": "static student"},
    OTHERS: {"color": VERMILION, "marker": "D", "label": "others, full depth"},
}


# Those of README.md's table, in its order: its names for them.
_SUMMARY = {
    "HF pipeline": "Hugging Face `pipeline`, batches of 32",
    "CrossEncoder": "sentence-transformers `CrossEncoder`",
    "ONNX Runtime, int8": "ONNX Runtime, int8 weights",
    "OpenVINO, own best": "OpenVINO, one stream per core",
    "full depth": "`score --speed 0`, full depth",
    "at most 0.5 %": "**`score --max-disagreement 0.005`**",
    "at most 1 %": "**`score --max-disagreement 0.01`**",
    "at most 2 %": "**`score --max-disagreement 0.02`**",
    "at most 5 %": "**`score --max-disagreement 0.05`**",
    "student, 6 layers": "6-layer student, distilled, in our engine",
    "student, 3 layers": "3-layer student, likewise",
    "student, 1 layer": "1-layer student, likewise",
    "student, BiLSTM": "BiLSTM student",
}


def summary() -> str:
    """Return the table of README.md."""
    rows, found = read_results("rivals")
    return (
        _table(rows, _SUMMARY)
        + "\n\nWhole commands, file to file, on texts that nothing has seen, promises with "
        f"`--promise population`, float32, {found['threads']} CPU cores; all systems take turns. "
        "\\* No promise is both as fast and as true."
    )


def systems() -> str:
    """Return all systems, and where they ran."""
    rows, found = read_results("rivals")
    groups = dict(list(rows.groupby("dataset", sort=False)))
    texts = "; ".join(f"{name}: {_texts(group.iloc[0])}" for name, group in groups.items())
    run_on = f"{found['cpu']}, {found['threads']} threads, {rows['precision'].iloc[0]}"
    names = {system: system for system in rows["system"]}
    return _table(rows, names) + f"\n\n{run_on}, medians of {found['rounds']} rounds. {texts}."


def _table(rows: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Return one row for each system, and columns of rates and agreement for each data set."""
    groups = dict(list(rows.groupby("dataset", sort=False)))
    cells = []
    for system, name in names.items():
        row = [name]
        for group in groups.values():
            named = group[group["system"] == system]
            row += ["", ""] if named.empty else _cells(named.iloc[0], group)
        cells.append(row)
    header = ["", *(title for name in groups for title in (f"{name}: rows/s", "same answers"))]
    return table(header, cells)


def _texts(row: pd.Series) -> str:
    return (
        f"{row['calibration_rows']:,} texts to calibrate with, {row['fresh_rows']:,} fresh ones, "
        f"GEMM peak {row['gemm_gflops']:,.0f} GFLOP/s"
    )


def _cells(row: pd.Series, group: pd.DataFrame) -> list[str]:
    """Return a rate and an agreement, with a mark where no promise is as fast and agrees as often."""
    ours = group[group["series"].isin((PROMISE, FULL_DEPTH))]
    is_beaten = (ours["rows_per_second"] >= row["rows_per_second"]) & (ours["agreement"] >= row["agreement"])
    is_rival = row["series"] in (STUDENT, OTHERS)
    mark = " \\*" if is_rival and not is_beaten.any() else ""
    return [rate(row["rows_per_second"]) + mark, percent(row["agreement"])]


def plot(path: Path) -> None:
    """Draw a panel for each data set."""
    rows, _ = read_results("rivals")
    rows = rows.assign(mark=rows["system"].str.removeprefix("at most "))
    panels = [(name, group) for name, group in rows.groupby("dataset", sort=False)]
    agreement_plot.plot(panels, path, styles=STYLES, curves=(PROMISE,), columns=1)
