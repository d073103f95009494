"""Configuration of `distill`."""

from dataclasses import dataclass
from typing import Annotated

import typer

from jobs.configs.options import (
    BatchSize,
    Epochs,
    KlDirectionName,
    LearningRate,
    Output,
    Overwrite,
    Precision,
    Seed,
    SoftLabelDirectories,
)
from model.errors import ParameterError


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Train a branch after every layer from soft labels: a FastBERT checkpoint."""

    labels: SoftLabelDirectories
    backbone: Annotated[str, typer.Option(help="Classifier that gets the branches: directory or hub name.")]
    output: Output
    epochs: Epochs = 3
    learning_rate: LearningRate = 1e-3
    batch_size: BatchSize = 32
    seed: Seed = 0
    kl_direction: Annotated[
        KlDirectionName,
        typer.Option(help="KL(teacher||student) as the authors' code, or as the paper's formula."),
    ] = "teacher-student"
    hard_label_weight: Annotated[
        float, typer.Option(help="Weight of the cross-entropy with the teacher's answers.")
    ] = 0.0
    precision: Precision = "auto"
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a killed run stopped.")] = False
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        """Check what the training loop does not.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        if not 0 <= self.hard_label_weight < float("inf"):
            raise ParameterError(f"`hard_label_weight` {self.hard_label_weight} is not 0 or above")
        if self.resume and self.overwrite:
            raise ParameterError("`resume` and `overwrite` exclude each other")
