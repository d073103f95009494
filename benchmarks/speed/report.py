"""Tables of what `run.py` measured, from its Parquet file alone."""

from collections.abc import Iterator

import pandas as pd

from benchmarks.markdown import blank_if_missing, percent, rate, table, times
from benchmarks.results import read_results
from benchmarks.speed.measurements import (
    ENGINE,
    GEMM,
    HF_PIPELINE,
    ONNX_RUNTIME_INT8,
    OPENVINO_BEST,
    OPENVINO_DEFAULT,
    SCORE,
    STUDENT,
    medians,
    only,
)

DATASETS = {
    "sst2": "SST-2 train, about 13 tokens",
    "dev": "SST-2 dev, about 25 tokens",
    "ag": "AG News, about 45 tokens",
    "long": "long, 256 to 512 tokens",
}
_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}


def environment() -> str:
    """Return one line about the machine, the libraries and the rounds."""
    _, found = read_results("speed")
    versions = ", ".join(f"{library} {version}" for library, version in found["versions"].items())
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['threads']} threads; "
        f"Python {found['python']}, {versions}; {found['rounds']} rounds."
    )


def gemm_peaks() -> str:
    """Return one line about what matrix products reach on this machine."""
    result = medians(read_results("speed")[0])
    peaks = result[result["series"] == GEMM].groupby("precision", sort=False)["gflops"].max()
    return "GEMM peak: " + ", ".join(f"{name} {peak:,.0f} GFLOP/s" for name, peak in peaks.items()) + "."


def full_depth_ratios() -> str:
    """Return `score --speed 0` against others at full depth: a sentence with the ranges over all datasets."""
    result = medians(read_results("speed")[0])
    groups = dict(list(result.groupby(["dataset", "precision"], sort=False)))
    score = {key: _rate(group, series=SCORE, target=1.0) for key, group in groups.items()}
    hf = [score[key] / _rate(group, system=HF_PIPELINE) for key, group in groups.items()]
    best = {key: score[key] / _best_openvino(group) for key, group in groups.items()}
    ahead = [key for key, ratio in best.items() if ratio >= 1]
    int8 = only(groups["sst2", "fp32"], system=ONNX_RUNTIME_INT8)
    num_behind = len(best) - len(ahead)
    against_int8 = int8["rows_per_second"] / score["sst2", "fp32"]
    return (
        f"At full depth `score` does {min(hf):.1f} to {max(hf):.1f} times the rows per second of the Hugging "
        f"Face `pipeline`, and {min(best.values()):.2f} to {max(best.values()):.2f} times those of "
        f"OpenVINO's better setting: **OpenVINO is ahead at full depth in {num_behind} of {len(best)} "
        f"cases**, all but {' and '.join(_case(key) for key in ahead)}, and most on long texts. ONNX "
        f"Runtime with int8 weights does {against_int8:.2f} times our float32 rows per second on SST-2 "
        f"phrases, with {percent(int8['agreement'])} of the answers; there is no int8 in fastbert-jobs. What "
        "fastbert-jobs adds to these is early exit."
    )


def openvino() -> str:
    """Return where OpenVINO's better setting is ahead of `score --speed 0`, by dataset and precision."""
    result = medians(read_results("speed")[0])
    rows = []
    for dataset, name in DATASETS.items():
        cells = [name]
        for precision in _PRECISIONS:
            group = result[(result["dataset"] == dataset) & (result["precision"] == precision)]
            ours, theirs = _rate(group, series=SCORE, target=1.0), _best_openvino(group)
            cells.append(f"{rate(ours)} / {rate(theirs)} = {ours / theirs:.2f}")
        rows.append(cells)
    return table(("`score --speed 0` / OpenVINO's better setting, rows/s", *_PRECISIONS.values()), rows)


def _case(key: tuple[str, str]) -> str:
    dataset, precision = key
    return f"{DATASETS[dataset].split(',')[0]} in {_PRECISIONS[precision]}"


def _best_openvino(group: pd.DataFrame) -> float:
    return max(_rate(group, system=name) for name in (OPENVINO_DEFAULT, OPENVINO_BEST))


def _rate(group: pd.DataFrame, **wanted: object) -> float:
    return float(only(group, **wanted)["rows_per_second"])


def ratios() -> str:
    """Return the ratios that we set ourselves targets on, one row per dataset and precision."""
    result = medians(read_results("speed")[0])
    rows = [
        (dataset, precision, *_ratios_of(group))
        for (dataset, precision), group in result.groupby(["dataset", "precision"], sort=False)
    ]
    header = (
        "dataset",
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
    return table(header, rows)


def _ratios_of(group: pd.DataFrame) -> list[str]:
    def kept(series: str, target: float) -> float:
        faster = _rate(group, series=series, target=target) / _rate(group, series=series, target=1.0)
        return faster / float(only(group, series=series, target=target)["saved_compute"])

    systems = (HF_PIPELINE, OPENVINO_DEFAULT, OPENVINO_BEST)
    score, engine = only(group, series=SCORE, target=1.0), only(group, series=ENGINE, target=1.0)
    numbers = [
        *(score["rows_per_second"] / _rate(group, system=name) for name in systems),
        engine["gflops"] / only(group, series=GEMM)["gflops"],
        *(
            _rate(group, series=SCORE, target=target) / _rate(group, series=ENGINE, target=target)
            for target in (1.0, 4.0)
        ),
        *(kept(series, target) for series in (SCORE, ENGINE) for target in (2.0, 4.0)),
    ]
    return [*(f"{number:.2f}" for number in numbers), percent(score["padding"], 1)]


def all_systems() -> str:
    """Return every system on every dataset and precision, a section each."""
    everything, _ = read_results("speed")
    return "\n\n".join(_sections(everything))


def _sections(everything: pd.DataFrame) -> Iterator[str]:
    for (dataset, precision), group in everything.groupby(["dataset", "precision"], sort=False):
        first = group[(group["series"] == SCORE) & (group["round"] == 0)].iloc[0]
        yield f"#### {DATASETS[dataset]}, {precision}"
        yield f"{first['rows']:,} rows, {first['tokens'] / first['rows']:.1f} tokens on average."
        yield _systems(group)


def _systems(group: pd.DataFrame) -> str:
    """Return the table of one dataset and precision."""
    result = medians(group[group["series"] != GEMM])
    seconds = group.groupby("system")["seconds"]
    spread = seconds.max() / seconds.min()
    hf = _rate(result, system=HF_PIPELINE)
    rows = [
        (
            row["system"],
            rate(row["rows_per_second"]),
            times(row["rows_per_second"] / hf),
            f"{spread[row['system']]:.2f}",
            percent(row["agreement"]),
            blank_if_missing(row["mean_exit_layer"], "{:.2f}") if row["series"] != STUDENT else "",
            blank_if_missing(row["saved_compute"], "{:.2f}x") if row["series"] != STUDENT else "",
            blank_if_missing(row["gflops"], "{:,.0f}"),
            row["note"],
        )
        for _, row in result.iterrows()
    ]
    header = (
        "system",
        "rows/s",
        "to HF pipeline",
        "spread",
        "agreement",
        "mean exit layer",
        "saved compute",
        "useful GFLOP/s",
        "what is timed",
    )
    return table(header, rows)


def long_texts() -> str:
    """Return the table of where the time of long texts goes, ours and OpenVINO's."""
    rows, found = read_results("profile")
    parts = ("whole", "products with weights", "attention", "the rest")
    cells = [
        (row["system"], row["precision"], *(f"{row[part]:.1f}" for part in parts))
        for _, row in rows.iterrows()
    ]
    peaks = rows.drop_duplicates("precision")
    peak = ", ".join(f"{row.precision} {row.gemm_gflops:,.0f} GFLOP/s" for row in peaks.itertuples())
    return (
        table(("ms a text", "precision", *parts), cells)
        + f"\n\n{found['rows']} texts of {found['tokens']:.0f} tokens on average, 12 layers of 384; "
        f"{found['cpu']}, 1 thread, GEMM peak {peak}; torch {found['versions']['torch']}, openvino "
        f"{found['versions']['openvino']}."
    )
