"""The plot of agreement against rows per second."""

from pathlib import Path

import pandas as pd

from benchmarks import agreement_plot
from benchmarks.agreement_plot import BLUE, GREEN, SKY_BLUE, VERMILION
from benchmarks.speed.measurements import BASELINE, ENGINE, GEMM, SCORE, STUDENT
from benchmarks.speed.report import DATASETS

STYLES = {
    SCORE: {"color": BLUE, "marker": "o", "label": "fastbert-jobs score, file to file (with --speed)"},
    ENGINE: {"color": SKY_BLUE, "marker": "s", "label": "fastbert-jobs engine, bare"},
    STUDENT: {"color": GREEN, "marker": "^", "label": "static student in our engine, bare"},
    BASELINE: {"color": VERMILION, "marker": "D", "label": "others, full depth"},
}


def plot(result: pd.DataFrame, path: Path) -> None:
    """Draw agreement against rows per second, one panel per dataset and precision."""
    points = result[result["series"] != GEMM]
    points = points.assign(mark=points["speed"].map("{:.2g}".format))
    panels = [
        (f"{DATASETS[dataset]}, {precision}", group)
        for (dataset, precision), group in points.groupby(["dataset", "precision"], sort=False)
    ]
    agreement_plot.plot(panels, path, styles=STYLES, curves=(SCORE, ENGINE), columns=2)
