"""Options that several commands share, and the values that some of them take."""

from typing import Annotated, Literal

import typer

DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
FormatName = Literal["parquet", "jsonl", "csv", "tsv"]
BranchName = Literal["paper", "pooling"]
KlDirectionName = Literal["teacher-student", "student-teacher"]

Input = Annotated[
    tuple[str, ...], typer.Option(help="Files to read: a path, glob or directory; may be repeated.")
]
TextColumn = Annotated[str, typer.Option(help="Column to classify.")]
TextPairColumn = Annotated[str | None, typer.Option(help="Second text, for a model of sentence pairs.")]
IdColumn = Annotated[str | None, typer.Option(help="Column passed through as `id`.")]
Keep = Annotated[tuple[str, ...], typer.Option(help="Column to pass through; may be repeated.")]
InputFormat = Annotated[
    FormatName | None, typer.Option(help="Format of the input; by default its extension says.")
]
Output = Annotated[str, typer.Option(help="Directory to write.")]
RowsPerShard = Annotated[int, typer.Option(help="Most rows of a shard, the unit of work and of resuming.")]
Precision = Annotated[
    PrecisionName, typer.Option(help="auto: bf16 where the processor has it; else fp32, fp16 on a GPU.")
]
Device = Annotated[DeviceName, typer.Option(help="auto: a GPU where this machine has one.")]
WorkersDevice = Annotated[
    DeviceName,
    typer.Option(help="auto: a GPU where this machine has one; cuda: where those have one who do the work."),
]
MaxRejected = Annotated[float, typer.Option(help="Fail if a larger share of the rows is rejected.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a killed run stopped.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete what another run left in the output.")]
Epochs = Annotated[int, typer.Option(help="Passes over the rows.")]
LearningRate = Annotated[float, typer.Option(help="Highest learning rate.")]
BatchSize = Annotated[int, typer.Option(help="Texts per step.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same weights.")]
SoftLabelDirectories = Annotated[
    tuple[str, ...], typer.Option(help="Finished output of label-teacher; may be repeated.")
]
FastBert = Annotated[str, typer.Option(help="FastBERT checkpoint: a directory or a hub name.")]
Verify = Annotated[
    bool,
    typer.Option("--verify", help="Read finished shards from end to end, and make damaged ones again."),
]
