"""The main line on real data: SST-2 train labelled, distilled, SST-2 dev and AG News test scored.

    python -m benchmarks.early_exit.run --data DIR --teacher DIR --work DIR

DIR/sst2_glue/{train,dev}.tsv and DIR/ag_news/test.tsv hold columns label and text_a; --teacher is a
classifier fine-tuned on SST-2. Finished steps in --work are kept, so the script goes on where it was stopped.
Writes a Parquet file; `make performance` makes the table from it.
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.results import RESULTS, machine, write_rows
from jobs.commands.audit import run as audit
from jobs.commands.distill import run as distill
from jobs.commands.label_teacher import run as label_teacher
from jobs.commands.score import run as score
from jobs.configs.audit import AuditConfig
from jobs.configs.distill import DistillConfig
from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.configs.score import ScoreConfig
from model.answers.uncertainty import normalised_entropy
from model.checkpoints.loading import load_classifier, load_tokenizer
from model.engine.execution import Precision, resolve_execution
from model.exits.exit_logits import all_exit_logits
from model.fastbert import FastBertForSequenceClassification
from model.tokens.tokenization import tokenize

SPEEDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
TARGET_LAYER = 6.0


def main() -> None:
    args = parse_args()
    os.environ["COLUMNS"] = "110"
    labels, model = args.work / "labels", args.work / "fastbert"
    with contextlib.redirect_stdout(sys.stderr):
        if not model.exists():
            make_model(args, labels, model)
    rows: list[dict[str, object]] = []
    full_depth: dict[str, dict[str, object]] = {}
    for name, path, with_labels in (
        ("SST-2 dev", args.data / "sst2_glue/dev.tsv", True),
        ("AG News test", args.data / "ag_news/test.tsv", False),
    ):
        if args.only not in (None, name):
            continue
        texts = read_texts(path)
        full_depth[name] = compare_full_depth(texts, args.teacher, model)
        speed = speed_at(texts, model) if with_labels else None
        rows += measure_speeds(name, path, model, args.work, speed, with_labels=with_labels)
    environment = machine(threads=torch.get_num_threads(), libraries=("torch",))
    write_rows(args.output, rows, {**environment, "precision": "fp32", "full_depth": full_depth})


def make_model(args: argparse.Namespace, labels: Path, model: Path) -> None:
    """Label SST-2 train and distil; either goes on where it was killed."""
    label_teacher(
        LabelTeacherConfig(
            input=(str(args.data / "sst2_glue/train.tsv"),),
            text_column="text_a",
            teacher=str(args.teacher),
            output=str(labels),
            max_length=128,
        )
    )
    distill(DistillConfig(labels=str(labels), backbone=str(args.teacher), output=str(model), resume=True))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--teacher", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS / "early_exit.parquet")
    parser.add_argument("--only", help="score one of the two: 'SST-2 dev' or 'AG News test'")
    return parser.parse_args()


def read_texts(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").split("\n")[1:]
    return [line.split("\t")[1] for line in lines if line]


def compare_full_depth(texts: list[str], teacher: Path, model: Path) -> dict[str, object]:
    """Compare speed 0 with the Hugging Face model, run plainly on padded batches of 32."""
    classifier, tokenizer = load_classifier(teacher), load_tokenizer(teacher)
    with torch.inference_mode():
        expected = torch.cat(
            [
                classifier(
                    **tokenizer(
                        texts[first : first + 32],
                        padding=True,
                        truncation=True,
                        max_length=128,
                        return_tensors="pt",
                    )
                ).logits
                for first in range(0, len(texts), 32)
            ]
        ).numpy()
    answers = FastBertForSequenceClassification.from_pretrained(model).predict(texts)
    return {
        "rows": len(texts),
        "equal_labels": int((answers.label_ids == expected.argmax(axis=1)).sum()),
        "largest_logit_difference": float(np.abs(answers.logits - expected).max()),
    }


def speed_at(texts: list[str], directory: Path) -> float:
    """Return the speed at which the mean exit layer comes nearest to TARGET_LAYER."""
    model = FastBertForSequenceClassification.from_pretrained(directory)
    tokenized = tokenize(model.tokenizer, texts, max_length=model.config.max_length)
    engine = model.engine(resolve_execution(Precision.FP32))
    exits = torch.from_numpy(all_exit_logits(engine, tokenized))
    uncertainty = normalised_entropy(exits).numpy()[:, :-1]
    candidates = np.unique(np.quantile(uncertainty, np.linspace(0, 1, 2001)))
    means = [mean_layer(uncertainty, speed) for speed in candidates]
    return float(candidates[np.argmin(np.abs(np.array(means) - TARGET_LAYER))])


def mean_layer(uncertainty: np.ndarray, speed: float) -> float:
    leaves = np.concatenate([uncertainty < speed, np.ones((len(uncertainty), 1), dtype=bool)], axis=1)
    return float(leaves.argmax(axis=1).mean()) + 1


def measure_speeds(
    name: str, path: Path, model: Path, work: Path, extra: float | None, *, with_labels: bool
) -> list[dict[str, object]]:
    """Score and audit a file at every speed; one row per speed."""
    speeds = sorted({*SPEEDS, *([] if extra is None else [extra])})
    rows, full_depth, seconds = [], None, None
    for speed in speeds:
        output = str(work / f"scores-{path.parent.name}-{speed:.6g}")
        with contextlib.redirect_stdout(sys.stderr):
            outcome = score(
                ScoreConfig(
                    input=(str(path),),
                    text_column="text_a",
                    model=str(model),
                    output=output,
                    speed=speed,
                    precision="fp32",
                    overwrite=True,
                )
            )
            report = audit(
                AuditConfig(
                    scores=output,
                    labels_input=(str(path),) if with_labels else (),
                )
            ).report
        answers = pd.read_parquet(output)["prediction"].to_numpy()
        full_depth = answers if full_depth is None else full_depth
        seconds = seconds or outcome.busy_seconds
        rows.append(
            {
                "dataset": name,
                "speed": speed,
                "mean_exit_layer": report.savings.mean_exit_layer,
                "paper_saved_compute": report.savings.paper,
                "saved_compute": report.savings.found,
                "wall_clock": seconds / outcome.busy_seconds,
                "agreement": float(np.mean(answers == full_depth)),
                "accuracy": report.labelled.overall.accuracy.value if report.labelled else None,
            }
        )
    return rows


if __name__ == "__main__":
    main()
