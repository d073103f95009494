"""Ratios between our own jobs: labelling, training, several workers, start-up of the command line.

    python -m benchmarks.jobs.rates --data DIR --teacher DIR --model DIR

--data holds sst2_glue/train.tsv, --teacher is a classifier fine-tuned on SST-2 and --model the FastBERT
distilled from it. Both sides of a ratio run in turn; it is that of the medians. Writes a Parquet file;
`make performance` makes the table from it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pandas as pd
import torch

from benchmarks.results import RESULTS, machine, write_rows
from benchmarks.speed.datasets import read_dataset
from benchmarks.terminal import silently
from jobs.commands.label_teacher import run as label_teacher
from jobs.commands.score import run as score
from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.configs.options import PrecisionName
from jobs.configs.runner import RunnerConfig
from jobs.configs.score import ScoreConfig
from jobs.driver.job_outcome import JobOutcome
from model.checkpoints.loading import load_tokenizer
from model.engine.execution import Precision, resolve_execution
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from model.tokens.tokenization import tokenize
from model.training.branches import backbone_engine, train_branches
from model.training.distillation_config import DistillationConfig
from model.training.soft_labelled_texts import SoftLabelledTexts
from pipeline.contract.manifest import LabelManifest, ScoreManifest


def main() -> None:
    args = parse_args()
    texts = read_dataset("sst2", args.data, args.rows, load_tokenizer(args.teacher))
    with tempfile.TemporaryDirectory() as home:
        corpus = Path(home) / "texts.parquet"
        pd.DataFrame({"text": texts}).to_parquet(corpus)
        comparisons = {
            "`label-teacher` / `score --speed 0`": labelling(args, corpus, Path(home)),
            "`distill` / forward only": training(args, texts),
            "two workers / one thread": workers(args, corpus, Path(home)),
        }
        rows = []
        for comparison, sides in comparisons.items():
            for precision in args.precision:
                names = {"comparison": comparison, "precision": precision}
                rows.append({**names, **median_rates(sides, precision, args.rounds)})
                print(rows[-1], flush=True)
    environment = {
        **machine(threads=torch.get_num_threads(), libraries=("torch",)),
        "texts": "SST-2 train",
        "rows": len(texts),
        "rounds": args.rounds,
        "help_seconds": median(help_seconds() for _ in range(9)),
    }
    write_rows(args.output, rows, environment)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--data", "--teacher", "--model"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "job_rates.parquet")
    parser.add_argument("--precision", type=lambda names: names.split(","), default=["fp32", "bf16"])
    return parser.parse_args()


Sides = tuple[Callable[[PrecisionName], float], Callable[[PrecisionName], float]]


def median_rates(sides: Sides, precision: PrecisionName, num_rounds: int) -> dict[str, float]:
    """Return the median rate of either side; each takes a precision and returns rows per second."""
    rounds = [[side(precision) for side in sides] for _ in range(num_rounds + 1)][1:]  # the first warms up
    first, second = (median(rates) for rates in zip(*rounds, strict=True))
    return {"first_rows_per_second": first, "second_rows_per_second": second}


def labelling(args: argparse.Namespace, corpus: Path, home: Path) -> Sides:
    def label(precision: PrecisionName) -> float:
        return rate(
            lambda: label_teacher(
                LabelTeacherConfig(
                    input=(str(corpus),), text_column="text", teacher=str(args.teacher), max_length=128,
                    output=str(home / "labels"), precision=precision, overwrite=True,
                )
            )
        )  # fmt: skip

    return label, lambda precision: scoring(args, corpus, home, precision, RunnerConfig())


def workers(args: argparse.Namespace, corpus: Path, home: Path) -> Sides:
    one, two = RunnerConfig(threads=1), RunnerConfig(workers=2, threads=1)
    return (
        lambda precision: scoring(args, corpus, home, precision, two),
        lambda precision: scoring(args, corpus, home, precision, one),
    )


def scoring(
    args: argparse.Namespace, corpus: Path, home: Path, precision: PrecisionName, runner: RunnerConfig
) -> float:
    threads = torch.get_num_threads()
    config = ScoreConfig(
        input=(str(corpus),), text_column="text", model=str(args.model), output=str(home / "scores"),
        rows_per_shard=args.rows // 4, speed=0.0, precision=precision, overwrite=True, runner=runner,
    )  # fmt: skip
    try:
        return rate(lambda: score(config)) * runner.workers
    finally:
        torch.set_num_threads(threads)


def rate(job: Callable[[], JobOutcome[LabelManifest] | JobOutcome[ScoreManifest]]) -> float:
    """Return rows per second that workers were busy."""
    outcome = silently(job)
    return outcome.num_rows / outcome.busy_seconds


def training(args: argparse.Namespace, texts: list[str]) -> Sides:
    """An epoch of training, as `distill` does it, and the layers that it runs (all but the last) forward."""
    model = FastBertForSequenceClassification.from_pretrained(args.model)
    tokenized = tokenize(model.tokenizer, texts, max_length=model.config.max_length)
    logits = torch.randn(len(texts), model.config.num_labels, generator=torch.Generator().manual_seed(0))
    labels = SoftLabelledTexts(
        texts=texts, text_pairs=None, logits=logits.numpy(), num_tokens=tokenized.lengths
    )
    config = DistillationConfig(epochs=1)
    before_last = ExitPolicy.from_exit_layer(model.num_layers - 1, num_layers=model.num_layers)

    def distill(precision: PrecisionName) -> float:
        engine = backbone_engine(model, resolve_execution(Precision(precision)))
        started = time.perf_counter()
        train_branches(model, labels, config, engine=engine)
        return len(texts) / (time.perf_counter() - started)

    def forward(precision: PrecisionName) -> float:
        engine = model.engine(resolve_execution(Precision(precision)))
        started = time.perf_counter()
        predict_tokenized(engine, tokenized, before_last)
        return len(texts) / (time.perf_counter() - started)

    return distill, forward


def help_seconds() -> float:
    command = Path(sys.executable).with_name("fastbert-jobs")
    started = time.perf_counter()
    subprocess.run([command, "--help"], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
