"""What the other benchmarks start from: a teacher of each data set, its soft labels, and a FastBERT.

    python -m benchmarks.prepare --data DIR --weights DIR --work DIR --only imdb

Rows are put into a random order that is always the same. The first of them fine-tune a teacher, and nothing
else; all others are unlabelled text, of which a large share is set aside for calibration. Leaves
WORK/NAME/{teacher,labels,fastbert}; what is there already is kept.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.terminal import say
from jobs.commands.distill import run as distill
from jobs.commands.finetune import run as finetune
from jobs.commands.label_teacher import run as label_teacher
from jobs.configs.distill import DistillConfig
from jobs.configs.finetune import FinetuneConfig
from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.configs.options import PrecisionName


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Where its rows are, and how its teacher is made.

    Attributes:
        files: of labelled rows, below the directory of the data.
        unlabelled: files of which the text alone is used.
        encoder: directory of the pretrained encoder, below that of the weights.
        teacher_rows: labelled rows that the teacher learns from.
        epochs: passes over these.
        learning_rate: its highest.
        max_length: tokens of a text.
        precision: of labels and branches.
    """

    files: tuple[str, ...]
    unlabelled: tuple[str, ...] = ()
    encoder: str
    teacher_rows: int
    epochs: int = 3
    learning_rate: float = 1e-4
    max_length: int = 128
    precision: PrecisionName = "fp32"


BERT, MINILM, ERNIE = "bert-L12-H384", "all-MiniLM-L6-v2", "ernie-3.0-nano-zh"
DATASETS = {
    "banking77": Dataset(
        files=("banking77/train.tsv", "banking77/test.tsv"), encoder=MINILM, teacher_rows=3700,
        learning_rate=3e-4,
    ),
    "chnsenticorp": Dataset(
        files=("chnsenticorp/train.tsv", "chnsenticorp/dev.tsv"), encoder=ERNIE, teacher_rows=2500,
        max_length=256,
    ),
    "ag_news": Dataset(
        files=("ag_news/train10k.tsv", "ag_news/test.tsv"), encoder=BERT, teacher_rows=3500
    ),
    "clickbait": Dataset(files=("clickbait/all.tsv",), encoder=BERT, teacher_rows=2500),
    "imdb": Dataset(
        files=("imdb/train.tsv",), unlabelled=("imdb/unlabelled.tsv", "imdb/test.tsv"), encoder=MINILM,
        teacher_rows=2700, max_length=256, precision="bf16",
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--data", "--weights", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--calibration-fraction", type=float, default=0.4)
    args = parser.parse_args()
    for name in args.only:
        home = args.work / name
        home.mkdir(parents=True, exist_ok=True)
        prepare(DATASETS[name], args.data, args.weights, home, args.calibration_fraction)


def prepare(dataset: Dataset, data: Path, weights: Path, home: Path, calibration_fraction: float) -> None:
    labelled, unlabelled = parted(dataset, data)
    labelled.to_parquet(home / "labelled.parquet", index=False)
    unlabelled.to_parquet(home / "unlabelled.parquet", index=False)
    say(f"{home.name}: {len(labelled):,} labelled texts for the teacher, {len(unlabelled):,} others")
    make_teacher(dataset, weights, home)
    label_and_distill(
        home / "unlabelled.parquet",
        home / "teacher",
        home,
        max_length=dataset.max_length,
        precision=dataset.precision,
        calibration_fraction=calibration_fraction,
    )


def make_teacher(dataset: Dataset, weights: Path, home: Path) -> None:
    """Fine-tune a teacher on `labelled.parquet`, unless it is there."""
    if not (home / "teacher").exists():
        finetune(
            FinetuneConfig(
                input=(str(home / "labelled.parquet"),), text_column="text", label_column="label",
                model=str(weights / dataset.encoder), output=str(home / "teacher"), epochs=dataset.epochs,
                learning_rate=dataset.learning_rate, max_length=dataset.max_length, eval_fraction=0.0,
            )
        )  # fmt: skip


def label_and_distill(
    texts: Path,
    teacher: Path,
    home: Path,
    *,
    max_length: int,
    precision: PrecisionName,
    calibration_fraction: float | None = None,
) -> None:
    """Label a Parquet file of texts, and distil a FastBERT of that unless it is there."""
    label_teacher(
        LabelTeacherConfig(
            input=(str(texts),), text_column="text", teacher=str(teacher), output=str(home / "labels"),
            max_length=max_length, precision=precision, calibration_fraction=calibration_fraction,
        )
    )  # fmt: skip
    if not (home / "fastbert").exists():
        distill(
            DistillConfig(
                labels=(str(home / "labels"),), backbone=str(teacher), output=str(home / "fastbert"),
                precision=precision,
            )
        )  # fmt: skip


def parted(dataset: Dataset, data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the teacher and all others, no text in both, each text once."""
    labelled = pd.concat([read_rows(data / name) for name in dataset.files], ignore_index=True)
    labelled = labelled.drop_duplicates("text")
    labelled = labelled.iloc[np.random.default_rng(0).permutation(len(labelled))]
    others = [labelled.iloc[dataset.teacher_rows :], *(read_rows(data / name) for name in dataset.unlabelled)]
    labelled = labelled.iloc[: dataset.teacher_rows]
    unlabelled = pd.concat(others, ignore_index=True)[["text"]].drop_duplicates("text")
    return labelled, unlabelled[~unlabelled["text"].isin(labelled["text"])]


def read_rows(path: Path) -> pd.DataFrame:
    """Return columns `label` and `text` of a TSV file without quoting."""
    rows = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, dtype=str, keep_default_na=False)
    return rows.rename(columns={"text_a": "text"})


if __name__ == "__main__":
    main()
