from jobs.report.plots.bars import bars
from tests.jobs.report.pages import texts


def test_bars_are_named():
    series = {"rows": [1, 2], "FLOPs": [0.5, 1]}
    plot = bars(["1", "$2$"], series, x_label="exit", y_label="share", is_share=True, description="d")
    assert {"1", "$2$", "rows", "FLOPs", "exit", "share", "100%"} <= texts(plot)


def test_one_series_needs_no_legend():
    shown = texts(bars(["1"], {"rows": [1]}, y_label="number", description="d"))
    assert "rows" not in shown


def test_next_to_nothing_is_a_plot_too():
    for plot in (
        bars([], {}, y_label="y", description="d"),
        bars(["a"], {"s": [0]}, y_label="y", is_horizontal=True, description="d"),
    ):
        assert "y" in texts(plot)
