"""Configuration of `label-teacher`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import typer

from jobs.configs.options import (
    IdColumn,
    Input,
    InputFormat,
    Keep,
    MaxRejected,
    Output,
    Overwrite,
    Precision,
    RowsPerShard,
    TextColumn,
    TextPairColumn,
    Verify,
    WorkersDevice,
)
from jobs.configs.runner import RunnerConfig
from model.checks import check_fraction
from pipeline.contract import defaults

PromiseOf = Literal["texts", "rows"]


@dataclass(frozen=True, kw_only=True)
class LabelTeacherConfig:
    """Run the teacher over a corpus: soft labels in Parquet shards."""

    input: Input
    text_column: TextColumn
    teacher: Annotated[str, typer.Option(help="Fine-tuned classifier: a directory or a hub name.")]
    output: Output
    text_pair_column: TextPairColumn = None
    id_column: IdColumn = None
    keep: Keep = ()
    rows_per_shard: RowsPerShard = defaults.ROWS_PER_SHARD
    max_length: Annotated[
        int | None, typer.Option(help="Tokens a text is cut to; by default the teacher's, at most 512.")
    ] = None
    calibration_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the texts that training never sees; by default 25,000, a third at most."),
    ] = None
    promise_of: Annotated[
        PromiseOf,
        typer.Option(help="What a promise is to be of: distinct texts, or rows, each copy counted."),
    ] = "texts"
    group_column: Annotated[
        str | None,
        typer.Option(
            help="Rows of equal value, as of a document or a thread, are kept on one side of the split; a "
            "promise is then of the texts, one of each group."
        ),
    ] = None
    teacher_training_input: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Files of texts that the teacher was fine-tuned on, which calibrate nothing; those of "
            "`finetune` are known without. May be repeated."
        ),
    ] = ()
    precision: Precision = "auto"
    device: WorkersDevice = "auto"
    format: InputFormat = None
    max_rejected: MaxRejected = 1.0
    overwrite: Overwrite = False
    verify: Verify = False
    runner: RunnerConfig = field(default_factory=RunnerConfig)

    def __post_init__(self) -> None:
        """Check the shares.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        if self.calibration_fraction is not None:
            check_fraction("calibration_fraction", self.calibration_fraction)
        check_fraction("max_rejected", self.max_rejected)
