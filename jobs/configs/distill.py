"""Configuration of `distill`."""

from dataclasses import dataclass
from typing import Annotated

import typer

from jobs.configs.options import (
    BatchSize,
    BranchName,
    Device,
    KlDirectionName,
    LearningRate,
    Output,
    Overwrite,
    Precision,
    Resume,
    Seed,
    SoftLabelDirectories,
)
from model.errors import ParameterError
from model.training.distillation_config import DistillationConfig, KlDirection

_AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Train a branch after every layer from soft labels: a FastBERT checkpoint."""

    labels: SoftLabelDirectories
    output: Output
    backbone: Annotated[
        str | None, typer.Option(help="Classifier that gets the branches: directory or hub name.")
    ] = None
    continue_from: Annotated[
        str | None,
        typer.Option(
            "--continue",
            help="FastBERT of the same teacher whose branches are trained on, after new text arrived; in "
            "place of --backbone.",
        ),
    ] = None
    epochs: Annotated[
        str, typer.Option(help="Passes over the rows; auto: until every branch has converged.")
    ] = "auto"
    learning_rate: LearningRate = DistillationConfig.learning_rate
    batch_size: BatchSize = DistillationConfig.batch_size
    branch: Annotated[
        BranchName, typer.Option(help="How branches read a layer: by learned queries, or as in the paper.")
    ] = "pooling"
    seed: Seed = 0
    kl_direction: Annotated[
        KlDirectionName,
        typer.Option(help="KL(teacher||student) as the authors' code, or as the paper's formula."),
    ] = "teacher-student"
    hard_label_weight: Annotated[
        float, typer.Option(help="Weight of the cross-entropy with the teacher's answers.")
    ] = 0.0
    true_labels: Annotated[
        str | None,
        typer.Option(
            help="Column of true labels that label-teacher kept (--keep), learnt from where rows have one."
        ),
    ] = None
    true_label_weight: Annotated[
        float, typer.Option(help="Weight of the cross-entropy with --true-labels.")
    ] = DistillationConfig.true_label_weight
    lexical_size: Annotated[
        float, typer.Option(help="Megabytes for the branch before the first layer; 0: no such branch.")
    ] = DistillationConfig.lexical_size
    precision: Precision = "auto"
    device: Device = "auto"
    resume: Resume = False
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        """Check what is the command's own, and then how branches are to be trained.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        if str(self.epochs) != _AUTO and not str(self.epochs).isdecimal():
            raise ParameterError(f"`epochs` {self.epochs} is neither a number of passes nor {_AUTO}")
        if (self.backbone is None) == (self.continue_from is None):
            raise ParameterError("give one of `backbone` and `continue_from`, and not both")
        if self.continue_from is not None and self.branch == "paper":
            raise ParameterError("`branch` goes with `backbone`: `continue_from` keeps the branches' design")
        if self.resume and self.overwrite:
            raise ParameterError("`resume` and `overwrite` exclude each other")
        _ = self.distillation

    @property
    def source(self) -> str:
        """What the branches are put around, or are taken from."""
        source = self.backbone or self.continue_from
        assert source is not None, "one of both is given"
        return source

    @property
    def distillation(self) -> DistillationConfig:
        """How to train the branches.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        return DistillationConfig(
            epochs=None if self.epochs == _AUTO else int(self.epochs),
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            seed=self.seed,
            kl_direction=KlDirection(self.kl_direction),
            hard_label_weight=self.hard_label_weight,
            true_label_weight=self.true_label_weight,
            lexical_size=self.lexical_size,
        )
