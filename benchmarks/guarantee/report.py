"""Tables and a plot of what `run.py` measured, from its Parquet files alone."""

from benchmarks.guarantee.speedup_plot import speedup_plot
from benchmarks.markdown import percent, table, times
from benchmarks.results import read_results


def data() -> str:
    """Return one paragraph about the texts and the redraws."""
    _, found = read_results("guarantee")
    return (
        f"{found['distinct_texts']:,} distinct texts of {found['texts']} that the branches were not trained "
        f"on, {found['labels']} labels, {found['layers']} layers, {found['precision']}. They are parted at "
        f"random {found['redraws']} times into {found['calibration_rows']:,} to calibrate with "
        f"({found['test_rows']:,} to test, the others and {found['held_out_texts']:,} that training held out "
        f"to search) and {found['fresh_rows']:,} fresh ones; medians."
    )


def disagreements() -> str:
    """Return the table of certified thresholds against the paper's single threshold."""
    rows, found = read_results("guarantee")
    cells = [
        (
            percent(row.max_disagreement, 1),
            f"**{times(row.saved_compute)}**",
            percent(row.disagreement),
            f"{row.broken_certificates:.0f} of {row.redraws}",
            times(row.paper_as_much_disagreement),
            times(row.paper_certified),
            times(row.paper_hindsight),
            f"**{percent(row.ratio_to_paper_hindsight, 1)}**",
            times(row.per_layer_hindsight),
        )
        for row in rows.itertuples()
    ]
    header = (
        "`--max-disagreement`",
        f"certified at {found['confidence']:.0%}: saved compute",
        "disagreement on fresh rows",
        "certificates broken",
        "the paper's threshold, as much disagreement",
        "the paper's threshold, certified alike",
        "the paper's threshold, chosen on the fresh rows",
        "certified / that",
        "per-layer thresholds, chosen on the fresh rows",
    )
    return table(header, cells)


def targets() -> str:
    """Return the table of saved compute asked for and measured."""
    rows, _ = read_results("target_speedup")
    cells = [
        (f"{row.target_speedup:g}x", times(row.saved_compute), percent(row.largest_deviation, 1))
        for row in rows.itertuples()
    ]
    return table(("`--target-speedup`", "saved compute on fresh rows", "largest deviation"), cells)


def target_plot() -> bytes:
    """Return the plot of saved compute asked for and measured, as PNG."""
    rows, _ = read_results("target_speedup")
    return speedup_plot(list(zip(rows["target_speedup"], rows["saved_compute"], strict=True)))


def _share(share: float) -> str:
    """Return a share without needless digits: 0.2 %, 1 %."""
    return f"{share * 100:g} %"
