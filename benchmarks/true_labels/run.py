"""What `distill --true-labels` does to branches, weight against weight.

    python -m benchmarks.true_labels.run --data DIR --weights DIR --work DIR --only banking77

Teachers are those of `benchmarks.prepare`. All other rows of the labelled files are soft-labelled, their true
labels kept, and branches are trained with each of several weights, of which 0 is none. On the calibration
split, which no branch saw, it is told how often branches answer as the teacher does, and how often rightly;
and what is saved at a promise, on fresh rows of many redraws. The data set's rows in the Parquet file are
replaced.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.answers.texts import read_tsv
from benchmarks.exits.run import add_redraws, agreement, environment, saved_compute
from benchmarks.guarantee.run import calibrate
from benchmarks.prepare import DATASETS, Dataset, make_teacher
from benchmarks.results import RESULTS, replace_dataset
from benchmarks.terminal import say
from jobs.commands.distill import run as distill
from jobs.commands.label_teacher import run as label_teacher
from jobs.configs.distill import DistillConfig
from jobs.configs.label_teacher import LabelTeacherConfig
from model.engine.execution import Precision, resolve_execution
from model.exits.exit_logits import all_exit_logits
from model.fastbert import FastBertForSequenceClassification
from model.tokens.tokenization import tokenize
from pipeline.contract import schema

_WEIGHTS = (0.0, 0.2, 0.5, 1.0)
_CALIBRATION_FRACTION = 0.4
_LABEL = "label"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--data", "--weights", "--work"):
        parser.add_argument(name, type=Path, required=True)
    names = [name for name, dataset in DATASETS.items() if not dataset.unlabelled]
    parser.add_argument("--only", nargs="+", default=names, choices=names)
    add_redraws(parser)
    parser.add_argument("--output", type=Path, default=RESULTS / "true_labels.parquet")
    args = parser.parse_args()
    for name in args.only:
        home = args.work / name
        home.mkdir(parents=True, exist_ok=True)
        label(DATASETS[name], args.data, args.weights, home)
        rows = [measured(name, weight, train(weight, home), home / "labels", args) for weight in _WEIGHTS]
        replace_dataset(args.output, name, rows, environment(args))


def label(dataset: Dataset, data: Path, weights: Path, home: Path) -> None:
    """Leave a teacher, and soft labels with the true ones beside."""
    rows = read_tsv(*(data / name for name in dataset.files))[["text", _LABEL]]
    rows.iloc[: dataset.teacher_rows].to_parquet(home / "labelled.parquet", index=False)
    rows.iloc[dataset.teacher_rows :].to_parquet(home / "others.parquet", index=False)
    make_teacher(dataset, weights, home)
    label_teacher(
        LabelTeacherConfig(
            input=(str(home / "others.parquet"),), text_column="text", keep=(_LABEL,),
            teacher=str(home / "teacher"), output=str(home / "labels"), max_length=dataset.max_length,
            precision=dataset.precision, calibration_fraction=_CALIBRATION_FRACTION,
        )
    )  # fmt: skip


def train(weight: float, home: Path) -> Path:
    """Return a FastBERT whose branches learnt from true labels of a weight."""
    output = home / f"fastbert-{weight:g}"
    if not output.exists():
        say(f"{home.name}: true labels weigh {weight:g}")
        distill(
            DistillConfig(
                labels=(str(home / "labels"),), backbone=str(home / "teacher"), output=str(output),
                true_labels=_LABEL if weight else None, true_label_weight=weight or _WEIGHTS[1],
                precision="fp32",
            )
        )  # fmt: skip
    return output


def measured(
    name: str, weight: float, model: Path, labels: Path, args: argparse.Namespace
) -> dict[str, object]:
    """Return what is told of a weight."""
    exits = calibrate(str(model), (str(labels),), args.precision)
    row = {
        "dataset": name,
        "labels": len(exits.labels),
        "weight": weight,
        "agreement": agreement(exits.flops_outcomes),
        "accuracy": accuracy(model, labels, args.precision),
        **saved_compute(exits.latency_outcomes, exits.flops_outcomes, exits.is_held_out, args),
    }
    print(row, flush=True)
    return row


def accuracy(model: Path, labels: Path, precision: str) -> list[float]:
    """Return the share of calibration rows that each exit answers rightly; the last is the teacher's."""
    columns = [schema.TEXT, schema.SPLIT, _LABEL]
    rows = pd.concat([pd.read_parquet(path, columns=columns) for path in sorted(labels.glob("part-*"))])
    rows = rows[rows[schema.SPLIT] == schema.CALIBRATION_SPLIT]
    fastbert = FastBertForSequenceClassification.from_pretrained(model)
    tokenized = tokenize(
        fastbert.tokenizer, rows[schema.TEXT].tolist(), max_length=fastbert.config.max_length
    )
    engine = fastbert.engine(resolve_execution(Precision(precision)))
    called = np.array(fastbert.labels)[all_exit_logits(engine, tokenized).argmax(axis=2)]
    shares: list[float] = (called == rows[_LABEL].to_numpy()[:, None]).mean(axis=0).tolist()
    return shares


if __name__ == "__main__":
    main()
