import numpy as np

from jobs.report.plots.heat_map import heat_map
from tests.jobs.report.pages import texts

CONFUSION = {"row_label": "label", "column_label": "answer", "description": "d"}


def test_cells_hold_numbers_where_there_is_room():
    names = ["a", "b"]
    few = heat_map([[1000, 2], [3, 4]], row_names=names, column_names=names, **CONFUSION)
    assert {"1,000", "2", "3", "4", "a", "b", "label", "answer"} <= texts(few)
    many = [f"n{place}" for place in range(77)]
    plot = heat_map(np.eye(77), row_names=many, column_names=many, **CONFUSION)
    assert {"n0", "n3"} <= texts(plot)
    assert "n1" not in texts(plot)


def test_nothing_counted_is_a_plot_too():
    assert {"a", "0"} <= texts(heat_map([[0]], row_names="a", column_names="a", **CONFUSION))
