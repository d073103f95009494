"""Configuration of `finetune`; the defaults are the paper's (Liu et al. 2020, section 4.3)."""

from dataclasses import dataclass
from typing import Annotated

import typer

from jobs.configs.options import (
    BatchSize,
    Device,
    Epochs,
    Input,
    InputFormat,
    LearningRate,
    Output,
    Overwrite,
    Seed,
    TextColumn,
    TextPairColumn,
)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tune a classifier from labelled rows, if you have none yet."""

    input: Input
    text_column: TextColumn
    label_column: Annotated[str, typer.Option(help="Column of the labels.")]
    model: Annotated[str, typer.Option(help="Pretrained encoder: a directory or a hub name.")]
    output: Output
    text_pair_column: TextPairColumn = None
    eval_input: Annotated[
        tuple[str, ...], typer.Option(help="Labelled rows to judge by; the best epoch is kept.")
    ] = ()
    epochs: Epochs = 3
    learning_rate: LearningRate = 2e-5
    # Not in the paper; the authors' code uses 32.
    batch_size: BatchSize = 32
    max_length: Annotated[int, typer.Option(help="Tokens a text is cut to.")] = 128
    weight_decay: Annotated[float, typer.Option(help="Of matrices, not of biases and norms.")] = 0.01
    warmup: Annotated[float, typer.Option(help="Share of the steps the learning rate rises over.")] = 0.1
    seed: Seed = 0
    device: Device = "auto"
    format: InputFormat = None
    overwrite: Overwrite = False
