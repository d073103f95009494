from jobs.report.plots.lines import Line, lines
from tests.jobs.report.pages import texts


def test_of_many_layers_some_are_named():
    drawn = [Line(name=f"layer {layer}", x=[0, 1], y=[layer, layer]) for layer in range(1, 25)]
    shown = texts(lines(drawn, x_label="x", y_label="y", is_ordered=True, description="d"))
    named = [text for text in shown if text.startswith("layer")]
    assert len(named) == 7
    assert {"layer 1", "layer 24"} <= set(named)


def test_ratios_are_written_in_full():
    drawn = [Line(name="a", x=[0, 1], y=[0.01, 1])]
    plot = lines(drawn, x_label="x", y_label="y", is_y_log=True, description="d")
    assert {"0.01", "0.1", "1"} <= texts(plot)


def test_next_to_nothing_is_a_plot_too():
    for drawn in ([], [Line(name="a", x=[0], y=[float("nan")])]):
        for is_log in (False, True):
            plot = lines(drawn, x_label="x", y_label="y", is_y_log=is_log, description="d")
            assert {"x", "y"} <= texts(plot)
