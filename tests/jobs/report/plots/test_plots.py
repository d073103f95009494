"""What stands in the plots' text, and that little or nothing to draw is no error."""

import re
from html import unescape

import numpy as np
import pytest

from jobs.report.plots.bars import bars
from jobs.report.plots.heat_map import heat_map
from jobs.report.plots.histograms import histograms
from jobs.report.plots.intervals import Interval, intervals
from jobs.report.plots.lines import Line, lines
from jobs.report.plots.reliability import ReliabilityBins, reliability

CONFUSION = {"row_label": "label", "column_label": "answer", "description": "d"}
NOTHING = ReliabilityBins.of([], [])


def texts(plot):
    return [unescape(text) for text in re.findall(r"<text[^>]*>(.*?)</text>", plot.svg("p"))]


def test_bars_are_named():
    series = {"rows": [1, 2], "FLOPs": [0.5, 1]}
    plot = bars(["1", "$2$"], series, x_label="exit", y_label="share", is_share=True, description="d")
    assert {"1", "$2$", "rows", "FLOPs", "exit", "share", "100 %"} <= set(texts(plot))


def test_one_series_needs_no_legend():
    shown = texts(bars(["1"], {"rows": [1]}, y_label="number", description="d"))
    assert "rows" not in shown


def test_of_many_layers_some_are_named():
    drawn = [Line(name=f"layer {layer}", x=[0, 1], y=[layer, layer]) for layer in range(1, 25)]
    shown = texts(lines(drawn, x_label="x", y_label="y", is_ordered=True, description="d"))
    named = [text for text in shown if text.startswith("layer")]
    assert len(named) == 7
    assert {"layer 1", "layer 24"} <= set(named)


def test_ratios_are_written_in_full():
    drawn = [Line(name="a", x=[0, 1], y=[0.01, 1])]
    plot = lines(drawn, x_label="x", y_label="y", is_y_log=True, description="d")
    assert {"0.01", "0.1", "1"} <= set(texts(plot))


def test_long_names_are_cut():
    plot = histograms([0, 1], {"n" * 100: [1], "b": [2]}, x_label="x", description="d")
    assert "n" * 21 + "…" in texts(plot)


def test_cells_hold_numbers_where_there_is_room():
    names = ["a", "b"]
    few = heat_map([[1000, 2], [3, 4]], row_names=names, column_names=names, **CONFUSION)
    assert {"1,000", "2", "3", "4", "a", "b", "label", "answer"} <= set(texts(few))
    many = [f"n{place}" for place in range(77)]
    plot = heat_map(np.eye(77), row_names=many, column_names=many, **CONFUSION)
    assert {"n0", "n3"} <= set(texts(plot))
    assert "n1" not in texts(plot)


def test_rows_are_binned_by_how_sure():
    bins = ReliabilityBins.of([0.05, 0.91, 0.95, 1.0], [False, True, True, False])
    np.testing.assert_allclose(bins.confidence, [0.05, (0.91 + 0.95 + 1.0) / 3])
    np.testing.assert_allclose(bins.agreement, [0, 2 / 3])
    assert bins.num_rows.tolist() == [1, 3]


def test_intervals_lie_where_names_are_long():
    short = [Interval(name=str(layer), value=0.9, low=0.8, high=0.95, mark=0.7) for layer in range(3)]
    upright = intervals(short, x_label="exit", y_label="agreement", limit=0.9, limit_name="promised",
                        mark_name="threshold", description="d")  # fmt: skip
    assert {"0", "2", "exit", "promised", "threshold"} <= set(texts(upright))
    long = [Interval(name=f"a label with a long name {place}", value=1, low=0, high=2) for place in range(30)]
    lying = intervals(long, y_label="agreement", description="d").svg("p")
    height = float(re.search(r'viewBox="0 0 \S+ (\S+)"', lying)[1])
    assert height > 500


@pytest.mark.parametrize(
    "plot",
    [
        lambda: bars([], {}, y_label="y", description="d"),
        lambda: bars(["a"], {"s": [0]}, y_label="y", is_horizontal=True, description="d"),
        lambda: lines([], x_label="x", y_label="y", description="d"),
        lambda: lines([Line(name="a", x=[0], y=[float("nan")])], x_label="x", y_label="y", description="d"),
        lambda: histograms([0, 1], {"a": [0]}, x_label="x", description="d"),
        lambda: heat_map([[0]], row_names="a", column_names="a", **CONFUSION),
        lambda: reliability({"a": NOTHING}, description="d"),
        lambda: intervals([], y_label="y", description="d"),
    ],
)  # fmt: skip
def test_next_to_nothing_is_a_plot_too(plot):
    assert "<svg" in plot().svg("p")
