import re

from jobs.report.plots.intervals import Interval, intervals
from tests.jobs.report.pages import texts


def test_intervals_lie_where_names_are_long():
    short = [Interval(name=str(layer), value=0.9, low=0.8, high=0.95, mark=0.7) for layer in range(3)]
    upright = intervals(short, x_label="exit", y_label="agreement", limit=0.9, limit_name="promised",
                        mark_name="threshold", description="d")  # fmt: skip
    assert {"0", "2", "exit", "promised", "threshold"} <= texts(upright)
    long = [Interval(name=f"a label with a long name {place}", value=1, low=0, high=2) for place in range(30)]
    lying = intervals(long, y_label="agreement", description="d").svg("p")
    height = float(re.search(r'viewBox="0 0 \S+ (\S+)"', lying)[1])
    assert height > 500


def test_nothing_is_a_plot_too():
    assert "y" in texts(intervals([], y_label="y", description="d"))
