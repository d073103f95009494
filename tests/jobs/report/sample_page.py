"""A page that has every block and every plot, and text that would like to do something."""

import numpy as np

from jobs.report.content import (
    Banner,
    Figure,
    Figures,
    KeyFigure,
    KeyFigures,
    Note,
    Page,
    Section,
    Settings,
    Table,
    Verdict,
)
from jobs.report.plot import Plot
from jobs.report.plots.agreement_bins import AgreementBins
from jobs.report.plots.bars import bars
from jobs.report.plots.heat_map import heat_map
from jobs.report.plots.histograms import histograms
from jobs.report.plots.intervals import Interval, intervals
from jobs.report.plots.lines import Line, lines
from jobs.report.plots.reliability import reliability

HOSTILE = "<script>alert(1)</script> </style> \" ' \x1b[31m $x_1$ \u202egpj.exe & \ud800 中文"
SHOWN = r"\x1b[31m $x_1$ \u202egpj.exe &amp; \ud800 中文"


def sample_plots() -> list[Plot]:
    draw = np.random.default_rng(0)
    edges, x = np.linspace(0, 1, 11), np.linspace(0, 1, 5)
    layers = [Line(name=f"layer {layer}", x=x, y=1 - x / (layer + 2)) for layer in range(13)]
    sure = draw.random(200)
    bins = AgreementBins.of(sure, draw.random(200) < sure)
    groups = [Interval(name=HOSTILE, value=0.9, low=0.8, high=0.95, mark=0.85) for _ in range(9)]
    about = {"description": HOSTILE}
    return [
        bars(list("abc"), {"rows": [1, 2, 3], HOSTILE: [3, 2, 1]}, x_label="exit", y_label=HOSTILE, **about),
        bars([HOSTILE, "b"], {"s": [1, 2]}, y_label="seconds", is_horizontal=True, is_share=True, **about),
        lines(layers, x_label="uncertainty", y_label="agreement", is_ordered=True, is_y_share=True, **about),
        lines(layers[:2], x_label="step", y_label="KL", is_y_log=True, marks={HOSTILE: 0.5}, **about),
        histograms(edges, {name: draw.random(10) for name in "ab"}, x_label="sure", is_stacked=True, **about),
        histograms(edges, {HOSTILE: draw.random(10), "b": draw.random(10)}, x_label="sure", is_share=True,
                   marks={"threshold": 0.3}, **about),
        heat_map(np.eye(20), row_names=[HOSTILE] * 20, column_names=[HOSTILE] * 20, row_label="label",
                 column_label="answer", **about),
        reliability({"before": bins, "after": bins}, **about),
        intervals(groups, y_label="agreement", is_share=True, limit=0.9, limit_name="promised", **about),
    ]  # fmt: skip


def sample_page() -> Page:
    banners = [
        Banner(verdict=verdict, word=HOSTILE, sentence=HOSTILE * 5, details=(HOSTILE,)) for verdict in Verdict
    ]
    wide = Table(columns=(HOSTILE,) * 12, rows=((HOSTILE, *["1,234,567"] * 11),) * 3, caption=HOSTILE)
    long = Table(columns=("text", "rows"), rows=((HOSTILE * 20, "1"), ("x" * 500, "2")), is_long=True)
    return Page(
        title=HOSTILE,
        lead="x" * 200,
        top=(*banners, KeyFigures(figures=(KeyFigure(value=HOSTILE, name="x" * 60, note=HOSTILE),) * 5)),
        sections=(
            Section(title="Plots", blocks=(
                Figures(figures=tuple(Figure(plot=plot, caption=HOSTILE * 2) for plot in sample_plots())),
            )),
            Section(title="Tables, notes", blocks=(
                wide, long, Settings(values={HOSTILE: "y" * 300}), Note(text=HOSTILE * 4),
                Note(text="x" * 300, is_warning=True),
            )),
        ),
        footer=HOSTILE,
    )  # fmt: skip
