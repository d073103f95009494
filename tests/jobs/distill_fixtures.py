"""Soft labels of some texts, the command line that distils from them, and what comes out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from jobs.commands.label_teacher import run as run_label_teacher
from jobs.configs.label_teacher import LabelTeacherConfig
from tests.job_fixtures import make_texts, write_tsv

TEXTS = make_texts(400)


def label_texts(
    directory: Path, teacher: Path, *, more: dict[str, Sequence[str]] | None = None, **options: Any
) -> Path:
    """Return a directory of soft labels of `TEXTS`, which have more columns."""
    directory.mkdir(exist_ok=True)
    path = write_tsv(directory / "rows.tsv", {"text": TEXTS, **(more or {})})
    run_label_teacher(
        LabelTeacherConfig(
            input=(str(path),), text_column="text", teacher=str(teacher), output=str(directory / "out"),
            rows_per_shard=150, calibration_fraction=0.2, **options,
        )
    )  # fmt: skip
    return directory / "out"


def distill(labels: Path, backbone: Path, output: Path, *more: Any, epochs: int = 1) -> list[Any]:
    """Return the command line that distils."""
    given = ["--labels", labels, "--backbone", backbone, "--output", output, "--epochs", epochs]
    return ["distill", *given, "--batch-size", 32, *more]


def weights(directory: Path) -> dict[str, np.ndarray]:
    return load_file(directory / "model.safetensors")
