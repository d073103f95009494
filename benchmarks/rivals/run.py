"""Our promises against all else that one could do with the same teacher and texts: whole commands.

    python -m benchmarks.rivals.run --dataset "AG News" --labels DIR --model DIR --teacher DIR --students DIR

--labels is an output of label-teacher by the teacher, --model the FastBERT and --students the directory of
students (`students.py`) that were distilled from it. Its calibration split is parted at random: two thirds
calibrate, and the others, which nothing has seen, are scored and timed. Everything is measured from file to
file, start-up and loading not counted, in turn, round after round; where the rows take less than a moment
they stand in several files. The data set's rows in the Parquet file are replaced; `make performance` makes
table and plot.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.results import RESULTS, machine, replace_dataset
from benchmarks.rivals.series import FULL_DEPTH, LEXICAL, OTHERS, PROMISE, STUDENT
from benchmarks.rivals.systems import TEXT, BiLstmStudent, FileToFile, LayersStudent, Score
from benchmarks.speed.exported_baselines import OnnxRuntime, OpenVino
from benchmarks.speed.gemm import gemm_peak
from benchmarks.speed.system import Rows, share_equal
from benchmarks.speed.torch_baselines import (
    DTYPES,
    BeamRunInference,
    HuggingFace,
    SentenceTransformers,
    be_quiet,
)
from benchmarks.terminal import say, silently
from jobs.commands.calibrate import run as calibrate
from jobs.commands.label_teacher import run as label_teacher
from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.label_teacher import LabelTeacherConfig
from model.checkpoints.loading import load_tokenizer
from model.fastbert import FastBertForSequenceClassification
from pipeline.contract import schema
from pipeline.results.soft_labels import SoftLabels

PROMISES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15)
FRESH_SHARE = 1 / 3
# Of the rows, where a system takes them too slowly to see all.
SLOW_SHARE = 4
MIN_SECONDS = 2.0
MAX_COPIES = 40
PAUSE_SECONDS = 0.3


def main() -> None:
    args = parse_args()
    be_quiet()
    with tempfile.TemporaryDirectory() as home:
        rows = measure(args, Path(home))
    environment = {
        **machine(
            threads=torch.get_num_threads(), libraries=("torch", "openvino", "onnxruntime", "transformers")
        ),
        "rounds": args.rounds,
    }
    replace_dataset(args.output, args.dataset, rows, environment)


def measure(args: argparse.Namespace, home: Path) -> list[dict[str, object]]:
    """Return a row for each system."""
    threads = torch.get_num_threads()
    labels = SoftLabels.open(args.labels)
    calibration_texts, fresh = parted(labels)
    say(f"{args.dataset}: {len(calibration_texts):,} texts to calibrate with, {len(fresh):,} fresh ones")
    yardstick = SentenceTransformers(args.teacher, "fp32", max_length=labels.max_length)
    expected = yardstick.run(Rows(fresh, load_tokenizer(args.teacher), labels.max_length)).label_ids
    calibration = calibrated(args, calibration_texts, labels.max_length, home)
    files, few = copies(fresh, home), copies(fresh[: len(fresh) // SLOW_SHARE], home / "few")
    systems = [*ours(args, calibration, home), *rivals(args, labels.max_length, threads, home)]
    plans, agreement = {}, {}
    for system in systems:
        texts = few if system.is_slow else files
        answers = system.run(texts[:1]).label_ids
        agreement[system.name] = share_equal(answers, expected[: len(answers)])
        # Again, now that all is warm.
        seconds = system.run(texts[:1]).seconds
        plans[system.name] = texts[: math.ceil(min(MAX_COPIES, MIN_SECONDS / seconds))]
    rates: dict[str, list[float]] = {system.name: [] for system in systems}
    peaks = []
    for number in range(args.rounds):
        peaks.append(gemm_peak(DTYPES[args.precision], threads=threads))
        for system in systems:
            torch.set_num_threads(threads)  # whatever the one before has set
            time.sleep(PAUSE_SECONDS)
            outcome = system.run(plans[system.name])
            rates[system.name].append(len(outcome.label_ids) / outcome.seconds)
            say(
                f"{number}: {system.name}: {rates[system.name][-1]:,.0f} rows/s, {agreement[system.name]:.2%}"
            )
    return [
        {
            "dataset": args.dataset,
            "precision": args.precision,
            "series": system.series,
            "system": system.name,
            "agreement": agreement[system.name],
            "rows_per_second": median(rates[system.name]),
            "spread": max(rates[system.name]) / min(rates[system.name]),
            "calibration_rows": len(calibration_texts),
            "fresh_rows": len(fresh),
            "gemm_gflops": median(peaks),
        }
        for system in systems
    ]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dataset", required=True, help="its name in the table")
    parser.add_argument("--labels", action="append", required=True, metavar="DIR")
    for name in ("--model", "--teacher", "--students"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--output", type=Path, default=RESULTS / "rivals.parquet")
    return parser.parse_args()


def parted(labels: SoftLabels) -> tuple[list[str], list[str]]:
    """Return the texts of the calibration split: to calibrate with, and fresh ones, in a random order."""
    texts: list[str] = []
    for batch in labels.read_shards(columns=[schema.TEXT, schema.SPLIT]):
        table = batch.to_pandas()
        texts += table.loc[table[schema.SPLIT] == schema.CALIBRATION_SPLIT, schema.TEXT].tolist()
    distinct = list(dict.fromkeys(texts))
    order = np.random.default_rng(0).permutation(len(distinct))
    num_fresh = int(FRESH_SHARE * len(distinct))
    return [distinct[row] for row in order[num_fresh:]], [distinct[row] for row in order[:num_fresh]]


def calibrated(args: argparse.Namespace, texts: list[str], max_length: int, home: Path) -> str:
    """Return the directory of a calibration by these texts."""
    path, labels, calibration = home / "calibration.parquet", home / "labels", home / "calibration"
    pd.DataFrame({TEXT: texts}).to_parquet(path)
    label_config = LabelTeacherConfig(
        input=(str(path),), text_column=TEXT, teacher=str(args.teacher), output=str(labels),
        max_length=max_length, calibration_fraction=1.0, precision=args.precision,
    )  # fmt: skip
    silently(partial(label_teacher, label_config))
    config = CalibrateConfig(
        model=str(args.model), labels=(str(labels),), output=str(calibration), precision=args.precision
    )
    silently(partial(calibrate, config))
    return str(calibration)


def copies(texts: list[str], home: Path) -> list[Path]:
    """Return files with the same texts, as many as are ever needed."""
    home.mkdir(exist_ok=True)
    files = [home / f"texts-{number:02}.parquet" for number in range(MAX_COPIES)]
    for file in files:
        pd.DataFrame({TEXT: texts}).to_parquet(file)
    return files


def ours(args: argparse.Namespace, calibration: str, home: Path) -> Iterator[Score]:
    """Yield what is ours: full depth, each promise, and the lexical branch alone."""

    def system(name: str, series: str, **policy: Any) -> Score:
        return Score(name, series, args.model, args.precision, home, **policy)

    yield system("full depth", FULL_DEPTH, speed=0.0)
    for share in PROMISES:
        # Of all texts like these: the files are few and stand for many more.
        promise = {"max_disagreement": share, "promise": "population", "calibration": calibration}
        yield system(f"at most {share * 100:g} %", PROMISE, **promise)
    if FastBertForSequenceClassification.from_pretrained(args.model).lexical_branch is not None:
        yield system("lexical branch alone", LEXICAL, fixed_exit_layer=0)


def rivals(
    args: argparse.Namespace, max_length: int, threads: int, home: Path
) -> Iterator[LayersStudent | FileToFile]:
    """Yield what is not: the students, and others that run the teacher."""
    for directory in sorted(args.students.glob("student-*")):
        yield LayersStudent(directory, max_length, args.precision, home)
    teacher, precision, tokenizer = args.teacher, args.precision, load_tokenizer(args.teacher)
    others = [
        HuggingFace(teacher, precision),
        SentenceTransformers(teacher, precision, max_length=max_length),
        BeamRunInference(teacher, precision, max_length=max_length),
        OnnxRuntime(teacher, int8=False, threads=threads),
        OnnxRuntime(teacher, int8=True, threads=threads),
        OpenVino(teacher, precision, best=False, threads=threads),
        OpenVino(teacher, precision, best=True, threads=threads),
    ]
    bilstm = BiLstmStudent(args.students / "bilstm")
    for series, system in [(STUDENT, bilstm), *((OTHERS, other) for other in others)]:
        yield FileToFile(system, series, tokenizer, max_length, home)


if __name__ == "__main__":
    main()
