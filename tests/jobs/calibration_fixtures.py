"""A classifier, its soft labels, the FastBERT distilled from them, and fresh texts to score."""

from pathlib import Path
from typing import Any

from scipy.stats import binom

from jobs.commands.label_teacher import run as run_label_teacher
from jobs.configs.label_teacher import LabelTeacherConfig
from pipeline.sampling.hash_sampling import text_hashes
from tests.job_fixtures import (
    MAX_LENGTH,
    make_texts,
    write_tsv,
)

# Distinct texts in any order: what is true of some is true of the others.
_POOL = sorted(set(make_texts(12_000, seed=3)), key=lambda text: text_hashes([text[::-1]]))
FRESH = _POOL[5000:9000]
# Some come twice.
TEXTS = [*_POOL[:5000], *_POOL[:300]]
FP32 = ("--precision", "fp32")


def label(directory: Path, teacher: Path, texts: list[str], **options: Any) -> Path:
    """Return a directory of soft labels."""
    directory.mkdir(parents=True, exist_ok=True)
    path = write_tsv(directory / "rows.tsv", {"text": texts})
    given = {"calibration_fraction": 0.4, "precision": "fp32", "max_length": MAX_LENGTH, **options}
    run_label_teacher(
        LabelTeacherConfig(
            input=(str(path),), text_column="text", teacher=str(teacher), output=str(directory / "labels"),
            rows_per_shard=1000, **given,
        )
    )  # fmt: skip
    return directory / "labels"


def assert_at_most(share: float, wrong: Any) -> None:
    """Hold wrong answers to fresh rows, (rows,) bool, against a share: not more than chance would add."""
    assert binom.sf(wrong.sum() - 1, len(wrong), share) > 0.01


def calibrate(model: Path, labels: Path, *more: Any) -> list[Any]:
    return ["calibrate", *FP32, "--model", model, "--labels", labels, *more]
