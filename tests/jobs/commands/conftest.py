"""What tests of fine-tuning, of distilling, of calibrating and of scoring by a calibration share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest

from jobs.commands.calibrate import run as run_calibrate
from jobs.commands.distill import run as run_distill
from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.distill import DistillConfig
from jobs.quickstart.tiny_bert import write_tiny_bert
from model.cost.latency import RunCost
from tests.job_fixtures import (
    CommandLine,
    make_texts,
    write_classifier,
    write_tsv,
)
from tests.jobs.calibration_fixtures import FP32, FRESH, TEXTS, label
from tests.jobs.distill_fixtures import label_texts
from tests.jobs.undrawn_plots import undrawn_plots

__all__ = ["undrawn_plots"]


@pytest.fixture(scope="session")
def soft_labels(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Path:
    """Directory of soft labels of `teacher`."""
    return label_texts(tmp_path_factory.mktemp("labels"), teacher)


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a classifier of whose layers a branch is a small part, as of real ones."""
    return write_classifier(tmp_path_factory.mktemp("models") / "wide", hidden_size=128)


@pytest.fixture(scope="session")
def quiet_machine() -> Iterator[None]:
    """What parts of a model take is what it would be if nobody else were here."""
    cost = RunCost(layer_seconds=1.0, branch_seconds=0.12, layer_flops=1.0, branch_flops=0.1)
    with mock.patch("model.guarantee.calibrate.measure_cost", return_value=cost):
        yield


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory, wide: Path) -> Path:
    return label(tmp_path_factory.mktemp("calibrate"), wide, TEXTS)


@pytest.fixture(scope="session")
def distilled(tmp_path_factory: pytest.TempPathFactory, wide: Path, labels: Path) -> Path:
    """Directory of a FastBERT whose exits know something."""
    output = tmp_path_factory.mktemp("distilled") / "fastbert"
    run_distill(
        DistillConfig(
            labels=(str(labels),), backbone=str(wide), output=str(output), epochs=4, precision="fp32",
            learning_rate=3e-3,
        )
    )  # fmt: skip
    return output


@pytest.fixture(scope="session")
def calibrated(distilled: Path, labels: Path) -> Path:
    """The same with its calibration."""
    run_calibrate(CalibrateConfig(model=str(distilled), labels=(str(labels),), precision="fp32"))
    return distilled


@pytest.fixture(scope="session")
def rows(calibrated: Path) -> pd.DataFrame:
    return pd.read_parquet(calibrated / "calibration.parquet")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny BERT without a classifier."""
    directory = tmp_path_factory.mktemp("models") / "encoder"
    write_tiny_bert(
        directory, make_texts(200), vocab_size=80, num_layers=2, hidden_size=32, num_heads=2, max_length=16
    )
    return directory


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Texts of the same kind that nobody has seen."""
    return write_tsv(tmp_path / "fresh.tsv", {"text": FRESH})


@pytest.fixture
def score(command: CommandLine, calibrated: Path, fresh: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return the command line that scores the fresh texts."""

    def args(*more: Any, model: Path = calibrated, output: str = "scores") -> list[Any]:
        return [
            "score", *FP32, "--input", fresh, "--text-column", "text", "--model", model,
            "--output", tmp_path / output, *more,
        ]  # fmt: skip

    return args
