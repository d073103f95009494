"""Configuration of `finetune`; epochs, decay and warm-up are the paper's (Liu et al. 2020, section 4.3)."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from jobs.configs.options import (
    BatchSize,
    Device,
    Epochs,
    Input,
    InputFormat,
    Output,
    Overwrite,
    Resume,
    Seed,
    TextColumn,
    TextPairColumn,
)
from model.answers.task import Task
from model.checks import MAX_THREADS, check_count, check_fraction, check_positive
from model.errors import ParameterError
from model.training.finetuning.settings import BestBy, ClassWeights, FinetuningSettings

TaskName = Literal["single-label", "multi-label", "regression"]
BestByName = Literal["accuracy", "macro-f1", "loss", "spearman"]
ClassWeightsName = Literal["none", "balanced"]
TrainingPrecision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tune a classifier from labelled rows, if you have none yet."""

    input: Input
    text_column: TextColumn
    label_column: Annotated[
        str, typer.Option(help="Column of the labels; of multi-label lists or text, of a regression numbers.")
    ]
    model: Annotated[str, typer.Option(help="Pretrained encoder: a directory or a hub name.")]
    output: Output
    task: Annotated[
        TaskName, typer.Option(help="One of several labels, any number of them at once, or a number.")
    ] = "single-label"
    label_separator: Annotated[
        str, typer.Option(help="Stands between labels in a column of text, with --task multi-label.")
    ] = ","
    text_pair_column: TextPairColumn = None
    eval_input: Annotated[
        tuple[str, ...], typer.Option(help="Labelled rows to judge by; the best epoch is kept.")
    ] = ()
    eval_fraction: Annotated[
        float | None,
        typer.Option(
            help="Share of the texts to judge by where no --eval-input is given, 0 for none; by default a "
            "tenth, 5,000 rows at most, and none of fewer than 200."
        ),
    ] = None
    best_by: Annotated[
        BestByName | None,
        typer.Option(
            help="What says which epoch is the best; by default accuracy, or loss but for single-label."
        ),
    ] = None
    class_weights: Annotated[
        ClassWeightsName, typer.Option(help="balanced: rare labels count as much as frequent ones.")
    ] = "none"
    epochs: Epochs = 3
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Highest learning rate; by default 1e-5 to 2e-4, the narrower the model the higher."
        ),
    ] = None
    # Not in the paper; the authors' code uses 32.
    batch_size: BatchSize = 32
    gradient_accumulation: Annotated[
        int, typer.Option(help="Batches whose gradients are added up for a step: less memory, equal steps.")
    ] = 1
    max_length: Annotated[int, typer.Option(help="Tokens a text is cut to; the classifier remembers it.")] = (
        128
    )
    weight_decay: Annotated[float, typer.Option(help="Of matrices, not of biases and norms.")] = 0.01
    warmup: Annotated[float, typer.Option(help="Share of the steps the learning rate rises over.")] = 0.1
    seed: Seed = 0
    precision: Annotated[
        TrainingPrecision,
        typer.Option(help="bf16: the network runs in bfloat16, and weights and losses stay in float32."),
    ] = "fp32"
    device: Device = "auto"
    threads: Annotated[int | None, typer.Option(help="Torch threads; by default the cores.")] = None
    format: InputFormat = None
    resume: Resume = False
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        """Check what does not go together, and each number that no lower room checks in time.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        if self.resume and self.overwrite:
            raise ParameterError("`resume` and `overwrite` exclude each other")
        if self.eval_fraction is not None:
            check_fraction("eval_fraction", self.eval_fraction)
            if self.eval_input:
                raise ParameterError("`eval_fraction` and `eval_input` exclude each other")
        if not self.label_separator.strip():
            raise ParameterError(f"`label_separator` {self.label_separator!r} is nothing but spaces")
        if self.threads is not None:
            check_count("threads", self.threads, MAX_THREADS)
        if self.learning_rate is not None:
            check_positive("learning_rate", self.learning_rate)
        self.settings.check(Task.named(self.task))

    @property
    def settings(self) -> FinetuningSettings:
        """How the classifier is judged and its rows are weighed.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        return FinetuningSettings(
            best_by=None if self.best_by is None else BestBy(self.best_by),
            class_weights=ClassWeights(self.class_weights),
            gradient_accumulation=self.gradient_accumulation,
        )
