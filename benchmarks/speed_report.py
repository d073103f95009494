"""Tables and a plot of what `speed.py` measured, from its Parquet file alone.

python benchmarks/speed_report.py benchmarks/speed.parquet
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from measurements import (
    ENGINE,
    GEMM,
    HF_PIPELINE,
    OPENVINO_BEST,
    OPENVINO_DEFAULT,
    SCORE,
    medians,
    read_measurements,
)

CASES = {
    "sst2": "SST-2 train, about 13 tokens",
    "dev": "SST-2 dev, about 25 tokens",
    "ag": "AG News, about 45 tokens",
    "long": "long, 256 to 512 tokens",
}
NOTES = """\
Rows a second of one process on all cores: the median of the rounds, in each of which all contestants run in
turn. *Spread* is the slowest round over the fastest. `score` is the whole command, file to file (read, hash,
tokenise, run, write), and only its start-up, Beam and loading the model, is not counted. Those marked *bare*
get token ids, so they are spared work that `score` does. HF pipeline, CrossEncoder and RunInference run on a
random quarter of the rows. *Agreement* is with the teacher at full depth in float32, as CrossEncoder computes
it. Branches and students were trained on SST-2 train: of that there are only texts here that were set aside,
but they are phrases of sentences of which other phrases were not; SST-2 dev, AG News and long texts are new.
*Saved compute* counts real lengths, attention and branches (`model/cost/flops.py`)."""
RATIOS = """\
At full depth where nothing else is said. *Kept* is the wall clock's speed-up over the same contestant's full
depth as a share of the saved compute, at the speeds that save about 2x and 4x. *Engine / GEMM peak* is in
useful FLOP/s. *Padding* is token-layers run over those needed, less 1."""

# Okabe and Ito's colours, which differ for the colour-blind too; markers differ besides.
STYLES = {
    SCORE: {"color": "#0072B2", "marker": "o", "label": "fastbert-jobs score, file to file (with --speed)"},
    ENGINE: {"color": "#56B4E9", "marker": "s", "label": "fastbert-jobs engine, bare"},
    "student": {"color": "#009E73", "marker": "^", "label": "static student in our engine, bare"},
    "peer": {"color": "#D55E00", "marker": "D", "label": "others, full depth"},
}


def main() -> None:
    write_report(Path(sys.argv[1]))


def write_report(measurements: Path) -> None:
    """Write the .md and the .png beside the .parquet."""
    everything, environment = read_measurements(measurements)
    markdown = "\n\n".join(_sections(everything, environment, measurements.stem)) + "\n"
    measurements.with_suffix(".md").write_text(markdown, encoding="utf-8")
    plot(medians(everything), measurements.with_suffix(".png"))


def _sections(everything: pd.DataFrame, environment: dict, name: str) -> Iterable[str]:
    versions = ", ".join(f"{library} {version}" for library, version in environment["versions"].items())
    yield "# Speed"
    yield (
        f"{environment['cpu']}, {environment['cores']} cores, {environment['threads']} threads; "
        f"python {environment['python']}, {versions}; {environment['repeats']} rounds."
    )
    result = medians(everything)
    peaks = result[result["series"] == GEMM].groupby("precision", sort=False)["gflops"].max()
    yield (
        "GEMM peak: "
        + ", ".join(f"{precision} {peak:,.0f} GFLOP/s" for precision, peak in peaks.items())
        + "."
    )
    yield NOTES
    yield f"![agreement against rows a second]({name}.png)"
    yield "## Ratios"
    yield ratios(result)
    yield RATIOS
    for (case, precision), group in everything.groupby(["case", "precision"], sort=False):
        yield f"## {CASES[case]}, {precision}"
        first = group[(group["series"] == SCORE) & (group["repeat"] == 0)].iloc[0]
        yield f"{first['rows']:,} rows, {first['tokens'] / first['rows']:.1f} tokens on average."
        yield contestants(group)


def contestants(group: pd.DataFrame) -> str:
    """Return the table of one case and precision."""
    result = medians(group[group["series"] != GEMM])
    seconds = group.groupby("contestant")["seconds"]
    spread = seconds.max() / seconds.min()
    hf = _only(result, contestant=HF_PIPELINE)["rows_per_second"]
    rows = [
        (
            row["contestant"],
            f"{row['rows_per_second']:,.4g}"
            if row["rows_per_second"] < 100
            else f"{row['rows_per_second']:,.0f}",
            f"{row['rows_per_second'] / hf:.2f}x",
            f"{spread[row['contestant']]:.2f}",
            f"{row['agreement']:.2%}",
            _or_blank(row["mean_exit_layer"], "{:.2f}") if row["series"] != "student" else "",
            _or_blank(row["saved_compute"], "{:.2f}x") if row["series"] != "student" else "",
            _or_blank(row["gflops"], "{:,.0f}"),
            row["note"],
        )
        for _, row in result.iterrows()
    ]
    header = (
        "contestant",
        "rows/s",
        "to HF pipeline",
        "spread",
        "agreement",
        "mean exit layer",
        "saved compute",
        "useful GFLOP/s",
        "what is timed",
    )
    return _table(header, rows)


def ratios(result: pd.DataFrame) -> str:
    """Return the ratios that we set ourselves targets on, a row a case and precision."""
    rows = [
        (case, precision, *_ratios_of(group))
        for (case, precision), group in result.groupby(["case", "precision"], sort=False)
    ]
    header = (
        "case",
        "precision",
        "score / HF pipeline",
        "score / OpenVINO",
        "score / OpenVINO, own best",
        "engine / GEMM peak",
        "score / engine",
        "score / engine at 4x",
        "score kept at 2x",
        "score kept at 4x",
        "engine kept at 2x",
        "engine kept at 4x",
        "padding",
    )
    return _table(header, rows)


def _ratios_of(group: pd.DataFrame) -> list[str]:
    def rate(**wanted: object) -> float:
        return float(_only(group, **wanted)["rows_per_second"])

    def kept(series: str, target: float) -> float:
        speed_up = rate(series=series, target=target) / rate(series=series, target=1.0)
        return speed_up / float(_only(group, series=series, target=target)["saved_compute"])

    peers = (HF_PIPELINE, OPENVINO_DEFAULT, OPENVINO_BEST)
    score, engine = _only(group, series=SCORE, target=1.0), _only(group, series=ENGINE, target=1.0)
    numbers = [
        *(score["rows_per_second"] / rate(contestant=name) for name in peers),
        engine["gflops"] / _only(group, series=GEMM)["gflops"],
        *(rate(series=SCORE, target=target) / rate(series=ENGINE, target=target) for target in (1.0, 4.0)),
        *(kept(series, target) for series in (SCORE, ENGINE) for target in (2.0, 4.0)),
    ]
    return [*(f"{number:.2f}" for number in numbers), f"{score['padding']:.1%}"]


def _only(group: pd.DataFrame, **wanted: object) -> pd.Series:
    """Return the one row that has these values."""
    found = group
    for name, value in wanted.items():
        found = found[found[name] == value]
    (_, row), *others = found.iterrows()
    assert not others, wanted
    return row


def _or_blank(value: float, form: str) -> str:
    return "" if pd.isna(value) else form.format(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))


def plot(result: pd.DataFrame, path: Path) -> None:
    """Draw agreement against rows a second, a panel a case and precision."""
    mpl.use("Agg")
    cases, precisions = result["case"].unique(), result["precision"].unique()
    figure, panels = plt.subplots(
        len(cases),
        len(precisions),
        figsize=(7.5 * len(precisions), 5.2 * len(cases)),
        squeeze=False,
        layout="constrained",
    )
    for panel_row, case in zip(panels, cases, strict=True):
        for panel, precision in zip(panel_row, precisions, strict=True):
            group = result[(result["case"] == case) & (result["precision"] == precision)]
            draw(panel, group[group["series"] != GEMM])
            panel.set_title(f"{CASES[case]}, {precision}", loc="left", fontweight="bold")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw(panel: Axes, group: pd.DataFrame) -> None:
    for series, style in STYLES.items():
        points = group[group["series"] == series].sort_values("rows_per_second")
        line = "-" if series in (SCORE, ENGINE) else "none"
        panel.plot(points["rows_per_second"], points["agreement"] * 100, linestyle=line, zorder=3, **style)
    lowest = float(group["agreement"].min()) * 100
    height = max(100 - lowest, 1.0)
    # Room above for the names of the many that agree fully.
    bottom = lowest - 0.2 * height
    panel.set_ylim(bottom, 100 + 0.65 * height)
    panel.set_yticks([tick for tick in panel.get_yticks() if bottom <= tick <= 100])
    panel.set_xscale("log")
    panel.set_xlim(group["rows_per_second"].min() / 1.5, group["rows_per_second"].max() * 1.5)
    panel.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    panel.grid(alpha=0.3)
    panel.set_xlabel("rows/s")
    panel.set_ylabel("same answer as the teacher at full depth, %")
    others = group[group["series"].isin(("peer", "student"))]
    is_top = others["agreement"] * 100 > 100 - 0.2 * height
    name_above(panel, others[is_top].sort_values("rows_per_second"))
    name_beside(panel, others[~is_top])
    name_speeds(panel, group[group["series"] == SCORE].sort_values("rows_per_second"))


def name_above(panel: Axes, points: pd.DataFrame) -> None:
    """Write names above all points, slanted, side by side, each with a line to its point."""
    left, right = np.log(panel.get_xlim())
    places = spread_out(np.log(points["rows_per_second"].to_numpy()), gap=(right - left) / 17)
    for (_, point), place in zip(points.iterrows(), places, strict=True):
        panel.annotate(
            point["contestant"],
            xy=(point["rows_per_second"], point["agreement"] * 100),
            xytext=(np.exp(place), 100 + 0.22 * (panel.get_ylim()[1] - 100)),
            rotation=40,
            rotation_mode="anchor",
            fontsize=8.5,
            color=STYLES[point["series"]]["color"],
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3},
        )


def name_beside(panel: Axes, points: pd.DataFrame) -> None:
    for _, point in points.iterrows():
        name = point["contestant"].replace(", ", ",\n")
        _write(panel, point, name, offset=(0, -6), ha="center", va="top")


def name_speeds(panel: Axes, points: pd.DataFrame) -> None:
    """Write the speeds of the curve, those left out that would stand on the one before."""
    left, right = np.log(panel.get_xlim())
    last = -np.inf
    for _, point in points.iterrows():
        place = np.log(point["rows_per_second"])
        if place - last > (right - left) / 20:
            _write(panel, point, f"{point['speed']:.2g}", offset=(-4, -5), ha="right", va="top")
            last = place


def _write(panel: Axes, point: pd.Series, text: str, *, offset: tuple[int, int], ha: str, va: str) -> None:
    panel.annotate(
        text,
        xy=(point["rows_per_second"], point["agreement"] * 100),
        xytext=offset,
        textcoords="offset points",
        ha=ha,
        va=va,
        fontsize=8.5,
        color=STYLES[point["series"]]["color"],
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        zorder=4,
    )


def spread_out(wanted: np.ndarray, *, gap: float) -> np.ndarray:
    """Return places near the wanted ones, ascending, at least `gap` apart.

    Neighbours that are too close form a block, which is centred on what its members wanted.
    """
    blocks: list[list[float]] = []

    def places(block: list[float]) -> np.ndarray:
        offsets = gap * (np.arange(len(block)) - (len(block) - 1) / 2)
        return np.mean(block) + offsets

    for value in wanted:
        blocks.append([float(value)])
        while len(blocks) > 1 and places(blocks[-1])[0] - places(blocks[-2])[-1] < gap:
            last = blocks.pop()
            blocks[-1] += last
    return np.concatenate([places(block) for block in blocks])


if __name__ == "__main__":
    main()
