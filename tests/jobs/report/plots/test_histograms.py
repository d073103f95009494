import pytest

from jobs.report.plots.histograms import histograms
from tests.jobs.report.pages import texts


def test_long_names_are_cut():
    plot = histograms([0, 1], {"n" * 100: [1], "b": [2]}, x_label="x", description="d")
    assert "n" * 21 + "…" in texts(plot)


@pytest.mark.parametrize("is_stacked", [False, True])
def test_stand_on_each_other_or_over_each_other(is_stacked):
    counts = {"a": [1, 2], "b": [3, 1]}
    plot = histograms(
        [0, 0.5, 1], counts, x_label="x", is_stacked=is_stacked, marks={"cut": 0.3}, description="d"
    )
    assert {"a", "b", "cut", "x", "rows"} <= texts(plot)
    # The axis reaches to the highest bin, and a little beyond.
    assert ("4" in texts(plot)) == is_stacked


def test_nothing_counted_is_a_plot_too():
    assert "x" in texts(histograms([0, 1], {"a": [0]}, x_label="x", description="d"))
