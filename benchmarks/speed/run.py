"""Rows per second of our engine and of others on the same teacher, at the same moment: `make bench`.

    python -m benchmarks.speed.run --data DIR --teacher DIR --model DIR [--students DIR]

Systems run in turn, round after round, so that a machine that slows down slows all of them; medians are
compared. --teacher is a classifier fine-tuned on SST-2, --model is the FastBERT distilled from it,
student-6 and student-3 in --students come from `benchmarks.rivals.students`. Writes the Parquet file
--output; `make performance` makes the tables and the plot from it.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.results import RESULTS, machine
from benchmarks.speed.datasets import read_dataset
from benchmarks.speed.exported_baselines import OnnxRuntime, OpenVino
from benchmarks.speed.gemm import gemm_peak
from benchmarks.speed.measurements import GEMM, Measurement, write_measurements
from benchmarks.speed.ours import Bare, Score, speeds_for, student
from benchmarks.speed.system import Rows, System, share_equal
from benchmarks.speed.torch_baselines import (
    DTYPES,
    BeamRunInference,
    HuggingFace,
    SentenceTransformers,
    be_quiet,
)
from benchmarks.terminal import say
from jobs.configs.options import PrecisionName
from model.checkpoints.loading import load_config, load_tokenizer
from model.fastbert import FastBertForSequenceClassification

# The datasets, and at most so many rows of each.
NUM_ROWS = {"sst2": 6000, "dev": 900, "ag": 2000, "long": 300}
# Savings of compute to look at; speeds that reach them are chosen for each dataset.
SCORE_TARGETS = (1.5, 2.0, 3.0, 4.0, 6.0)
ENGINE_TARGETS = (2.0, 4.0, 6.0)
SLOW_SHARE = 4
MIN_ROWS = 32
WARM_UP_ROWS = 16
# Thread pools spin for a while after their work, and would take the core from who comes next.
PAUSE_SECONDS = 0.3
LIBRARIES = ("torch", "transformers", "openvino", "onnxruntime", "sentence-transformers", "apache-beam")


def main() -> None:
    args = parse_args()
    be_quiet()
    threads = torch.get_num_threads()
    config = load_config(args.teacher)
    environment = {
        "model": f"{config.num_hidden_layers} layers of {config.hidden_size}",
        **machine(threads=threads, libraries=LIBRARIES),
        "rounds": args.rounds,
    }
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory() as home:
        for dataset in args.only:
            benchmark = Benchmark(args, dataset, Path(home), threads)
            for precision in args.precision:
                measurements += benchmark.run(precision)
                # After every one: what is measured is not lost when a later one fails.
                write_measurements(args.output, measurements, environment)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--data", "--teacher", "--model"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS / "speed.parquet")
    parser.add_argument("--students", type=Path, help="directory with student-6 and student-3")
    for dataset, num_rows in NUM_ROWS.items():
        parser.add_argument(f"--rows-{dataset}", type=int, default=num_rows)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=lambda names: names.split(","), default=list(NUM_ROWS))
    parser.add_argument("--precision", type=lambda names: names.split(","), default=["fp32", "bf16"])
    return parser.parse_args()


class Benchmark:
    """All systems on the texts of one dataset."""

    def __init__(self, args: argparse.Namespace, dataset: str, home: Path, threads: int) -> None:
        self._args, self._dataset, self._home, self._threads = args, dataset, home, threads
        max_length = 512 if dataset == "long" else 128
        self._model = with_max_length(args.model, max_length, home / f"fastbert-{max_length}")
        tokenizer = load_tokenizer(args.teacher)
        num_rows = getattr(args, f"rows_{dataset}")
        self._rows = Rows(read_dataset(dataset, args.data, num_rows, tokenizer), tokenizer, max_length)
        say(
            f"{dataset}: {len(self._rows):,} rows, "
            f"{self._rows.tokenized.lengths.mean():.1f} tokens on average"
        )
        # The yardstick is not ours: another library at full depth in float32.
        teacher = SentenceTransformers(args.teacher, "fp32", max_length=max_length)
        self._expected = teacher.run(self._rows).label_ids
        self._speeds = speeds_for(self._model, self._rows, SCORE_TARGETS)

    def run(self, precision: PrecisionName) -> list[Measurement]:
        systems = list(self._systems(precision))
        for system in systems:
            system.run(self._rows.head(WARM_UP_ROWS))
        return [
            measurement
            for number in range(self._args.rounds)
            for measurement in self._round(systems, precision, number)
        ]

    def _systems(self, precision: PrecisionName) -> Iterator[System]:
        args, max_length, threads = self._args, self._rows.max_length, self._threads
        speeds = {1.0: 0.0, **self._speeds}
        for target, speed in speeds.items():
            yield Score(self._model, precision, speed=speed, target=target, home=self._home)
        model = FastBertForSequenceClassification.from_pretrained(self._model)
        for target in (1.0, *ENGINE_TARGETS):
            yield Bare(model, precision, speed=speeds[target], target=target)
        for directory in sorted(args.students.glob("student-*"), reverse=True) if args.students else ():
            yield student(directory, precision, max_length=max_length)
        yield HuggingFace(args.teacher, precision)
        yield SentenceTransformers(args.teacher, precision, max_length=max_length)
        yield BeamRunInference(args.teacher, precision, max_length=max_length)
        if precision == "fp32":
            yield OnnxRuntime(args.teacher, int8=False, threads=threads)
            yield OnnxRuntime(args.teacher, int8=True, threads=threads)
        yield OpenVino(args.teacher, precision, best=False, threads=threads)
        yield OpenVino(args.teacher, precision, best=True, threads=threads)

    def _round(self, systems: Sequence[System], precision: str, number: int) -> Iterator[Measurement]:
        common = {"dataset": self._dataset, "precision": precision, "round": number}
        time.sleep(PAUSE_SECONDS)
        peak = gemm_peak(DTYPES[precision], threads=self._threads)
        say(f"{self._dataset} {precision} {number}: {GEMM} {peak:.0f} GFLOP/s")
        yield Measurement(
            **common, series=GEMM, system=GEMM, note="", rows=0, tokens=0, seconds=0.0, gflops=peak
        )
        for system in systems:
            num_slow = max(MIN_ROWS, len(self._rows) // SLOW_SHARE)
            rows = self._rows.head(num_slow) if system.is_slow else self._rows
            yield self._measure(system, rows, common)

    def _measure(self, system: System, rows: Rows, common: dict[str, object]) -> Measurement:
        num_tokens = int(rows.tokenized.lengths.sum())
        torch.set_num_threads(self._threads)  # whatever the one before has set
        time.sleep(PAUSE_SECONDS)
        started = time.perf_counter()
        answers = system.run(rows)
        seconds = time.perf_counter() - started
        if answers.seconds is not None:
            seconds = answers.seconds
        facts = dict(answers.facts)
        flops = facts.pop("flops", None)
        measurement = Measurement(
            **common,
            series=system.series,
            system=system.name,
            note=system.note,
            rows=len(rows),
            tokens=num_tokens,
            seconds=seconds,
            agreement=share_equal(answers.label_ids, self._expected[: len(rows)]),
            gflops=None if flops is None else flops / seconds / 1e9,
            **facts,
        )
        say(
            f"{self._dataset} {measurement.precision} {measurement.round}: {system.name} "
            f"{len(rows) / seconds:,.0f} rows/s, agreement {measurement.agreement:.2%}"
        )
        return measurement


def with_max_length(model: Path, max_length: int, copy: Path) -> Path:
    """Return a copy of a FastBERT that cuts texts to `max_length` tokens."""
    if not copy.exists():
        shutil.copytree(model, copy)
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "max_length": max_length}))
    return copy


if __name__ == "__main__":
    main()
