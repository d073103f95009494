"""The command line: parses options, calls `run`, turns errors into one line and an exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from jobs.commands.audit import AuditConfig
from jobs.commands.calibrate import CalibrateConfig
from jobs.commands.distill import DistillConfig
from jobs.commands.finetune import FinetuneConfig
from jobs.commands.label_teacher import LabelTeacherConfig
from jobs.commands.score import ScoreConfig
from jobs.driver.runner import RunnerConfig
from jobs.quickstart.command import QuickstartConfig
from jobs.terminal.log_filters import quieten_beam
from jobs.terminal.options import (
    BatchSize,
    Epochs,
    IdColumn,
    Input,
    InputFormat,
    KlDirection,
    LearningRate,
    MaxRejected,
    Output,
    Overwrite,
    PrecisionOption,
    RowsPerShard,
    Runner,
    Seed,
    TextColumn,
    TextPairColumn,
    Threads,
    Workers,
)

_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
_RESUME_HINTS = {
    "label-teacher": "; run the same command again to go on",
    "score": "; run the same command again to go on",
    "distill": "; run it again with --resume to go on",
}
_PROGRAM = "fastbert-jobs"
# Of the errors that typer raises it exports this one; its base is every misuse of the command line.
_UsageError: Any = typer.BadParameter.__bases__[0]
# Beam appends the step to the message of what a worker raised.
_BEAM_STEP = re.compile(r" \[while running '.*'\]$", re.DOTALL)
# Parameters of the library whose option has another name.
_OPTIONS = {"exit_layer": "--fixed-exit-layer"}
_REPEATABLE = ("--input", "--eval-input")

app = typer.Typer(
    name=_PROGRAM,
    help="Classify very large text corpora with your own BERT, each text leaving it where it is sure enough.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# What the command does not know is for the Beam runner; what that does not know either is refused.
_BEAM = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command("label-teacher", context_settings=_BEAM)
def label_teacher(
    context: typer.Context,
    input: Input,
    text_column: TextColumn,
    teacher: Annotated[str, typer.Option(help="Fine-tuned classifier: a directory or a hub name.")],
    output: Output,
    text_pair_column: TextPairColumn = None,
    id_column: IdColumn = None,
    rows_per_shard: RowsPerShard = LabelTeacherConfig.rows_per_shard,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens a text is cut to; by default the teacher's, at most 512.")
    ] = LabelTeacherConfig.max_length,
    calibration_fraction: Annotated[
        float, typer.Option(help="Share of the texts that training never sees.")
    ] = LabelTeacherConfig.calibration_fraction,
    precision: PrecisionOption = LabelTeacherConfig.precision,
    format: InputFormat = None,
    max_rejected: MaxRejected = LabelTeacherConfig.max_rejected,
    overwrite: Overwrite = False,
    runner: Runner = RunnerConfig.runner,
    workers: Workers = RunnerConfig.workers,
    threads: Threads = None,
) -> Any:
    """Run the teacher over a corpus: soft labels in Parquet shards."""
    from jobs.commands.label_teacher import run

    return run(
        LabelTeacherConfig(
            input=tuple(input),
            text_column=text_column,
            text_pair_column=text_pair_column,
            id_column=id_column,
            teacher=teacher,
            output=output,
            rows_per_shard=rows_per_shard,
            max_length=max_length,
            calibration_fraction=calibration_fraction,
            precision=precision,
            format=format,
            max_rejected=max_rejected,
            overwrite=overwrite,
            runner=_runner(context, runner, workers, threads),
        )
    )


@app.command()
def distill(
    labels: Annotated[str, typer.Option(help="Finished output of label-teacher.")],
    backbone: Annotated[str, typer.Option(help="Classifier that gets the branches: directory or hub name.")],
    output: Output,
    epochs: Epochs = DistillConfig.epochs,
    learning_rate: LearningRate = DistillConfig.learning_rate,
    batch_size: BatchSize = DistillConfig.batch_size,
    seed: Seed = DistillConfig.seed,
    kl_direction: KlDirection = DistillConfig.kl_direction,
    hard_label_weight: Annotated[
        float, typer.Option(help="Weight of the cross-entropy with the teacher's answers.")
    ] = DistillConfig.hard_label_weight,
    precision: PrecisionOption = DistillConfig.precision,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a killed run stopped.")] = False,
    overwrite: Overwrite = False,
) -> Any:
    """Train a branch after every layer from soft labels: a FastBERT checkpoint."""
    from jobs.commands.distill import run

    return run(
        DistillConfig(
            labels=labels,
            backbone=backbone,
            output=output,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            seed=seed,
            kl_direction=kl_direction,
            hard_label_weight=hard_label_weight,
            precision=precision,
            resume=resume,
            overwrite=overwrite,
        )
    )


@app.command()
def calibrate(
    model: Annotated[str, typer.Option(help="FastBERT checkpoint: a directory or a hub name.")],
    labels: Annotated[str, typer.Option(help="Finished output of label-teacher by its own backbone.")],
    confidence: Annotated[float, typer.Option(help="Of the table of targets.")] = CalibrateConfig.confidence,
    output: Annotated[str | None, typer.Option(help="Directory to write; by default the model's.")] = None,
    rows: Annotated[int, typer.Option(help="Most rows of the calibration split.")] = CalibrateConfig.rows,
    precision: PrecisionOption = CalibrateConfig.precision,
) -> Any:
    """Find out how many answers differ at which speed, for score --max-disagreement and --target-speedup."""
    from jobs.commands.calibrate import run

    return run(
        CalibrateConfig(
            model=model,
            labels=labels,
            output=output,
            rows=rows,
            confidence=confidence,
            precision=precision,
        )
    )


@app.command(context_settings=_BEAM)
def score(
    context: typer.Context,
    input: Input,
    text_column: TextColumn,
    model: Annotated[str, typer.Option(help="FastBERT checkpoint: a directory or a hub name.")],
    output: Output,
    max_disagreement: Annotated[
        float | None, typer.Option(help="Share of answers that may differ from full depth's, certified.")
    ] = None,
    max_missed: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=SHARE", help="The same of the rows that full depth calls LABEL."),
    ] = None,
    target_speedup: Annotated[
        float | None, typer.Option(help="Instead of --max-disagreement: compute to save, 4 for a quarter.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Of the certificate; by default 0.95.")
    ] = ScoreConfig.confidence,
    calibration: Annotated[
        str | None, typer.Option(help="Output of calibrate; by default the model's directory.")
    ] = ScoreConfig.calibration,
    speed: Annotated[
        float | None, typer.Option(help="A text leaves where its uncertainty is below; 0 is full depth.")
    ] = None,
    fixed_exit_layer: Annotated[
        int | None, typer.Option(help="Instead of --speed: every text leaves here.")
    ] = None,
    text_pair_column: TextPairColumn = None,
    id_column: IdColumn = None,
    keep: Annotated[str, typer.Option(help="Columns to pass through, as NAME,NAME.")] = "",
    rows_per_shard: RowsPerShard = ScoreConfig.rows_per_shard,
    shadow_fraction: Annotated[
        float, typer.Option(help="Share of the texts answered at full depth too, to audit agreement.")
    ] = ScoreConfig.shadow_fraction,
    precision: PrecisionOption = ScoreConfig.precision,
    format: InputFormat = None,
    max_rejected: MaxRejected = ScoreConfig.max_rejected,
    overwrite: Overwrite = False,
    runner: Runner = RunnerConfig.runner,
    workers: Workers = RunnerConfig.workers,
    threads: Threads = None,
) -> Any:
    """Score a corpus with early exit: predictions in Parquet shards."""
    from jobs.commands.score import run

    return run(
        ScoreConfig(
            input=tuple(input),
            text_column=text_column,
            text_pair_column=text_pair_column,
            id_column=id_column,
            keep=tuple(name for name in keep.split(",") if name),
            model=model,
            output=output,
            speed=speed,
            max_disagreement=max_disagreement,
            max_missed=tuple(max_missed or ()),
            target_speedup=target_speedup,
            confidence=confidence,
            calibration=calibration,
            fixed_exit_layer=fixed_exit_layer,
            rows_per_shard=rows_per_shard,
            shadow_fraction=shadow_fraction,
            precision=precision,
            format=format,
            max_rejected=max_rejected,
            overwrite=overwrite,
            runner=_runner(context, runner, workers, threads),
        )
    )


@app.command()
def audit(
    scores: Annotated[str, typer.Argument(help="Finished output of score.")],
    output: Annotated[str | None, typer.Option(help="Directory to write; by default SCORES/_audit.")] = None,
    labels_input: Annotated[list[str] | None, typer.Option(help="Labelled rows, for accuracy.")] = None,
    label_column: Annotated[str, typer.Option(help="Column of the true labels.")] = AuditConfig.label_column,
    id_column: Annotated[
        str | None, typer.Option(help="Joins labels on the id; by default on file and row.")
    ] = None,
    format: InputFormat = None,
) -> Any:
    """Show where scored rows left the network, how sure, and what it saved."""
    from jobs.commands.audit import run

    return run(
        AuditConfig(
            scores=scores,
            output=output,
            labels_input=tuple(labels_input or ()),
            label_column=label_column,
            id_column=id_column,
            format=format,
        )
    )


@app.command()
def finetune(
    input: Input,
    text_column: TextColumn,
    label_column: Annotated[str, typer.Option(help="Column of the labels.")],
    model: Annotated[str, typer.Option(help="Pretrained encoder: a directory or a hub name.")],
    output: Output,
    text_pair_column: TextPairColumn = None,
    eval_input: Annotated[
        list[str] | None, typer.Option(help="Labelled rows to judge by; the best epoch is kept.")
    ] = None,
    epochs: Epochs = FinetuneConfig.epochs,
    learning_rate: LearningRate = FinetuneConfig.learning_rate,
    batch_size: BatchSize = FinetuneConfig.batch_size,
    max_length: Annotated[int, typer.Option(help="Tokens a text is cut to.")] = FinetuneConfig.max_length,
    weight_decay: Annotated[
        float, typer.Option(help="Of matrices, not of biases and norms.")
    ] = FinetuneConfig.weight_decay,
    warmup: Annotated[
        float, typer.Option(help="Share of the steps the learning rate rises over.")
    ] = FinetuneConfig.warmup,
    seed: Seed = FinetuneConfig.seed,
    format: InputFormat = None,
    overwrite: Overwrite = False,
) -> Any:
    """Fine-tune a classifier from labelled rows, if you have none yet."""
    from jobs.commands.finetune import run

    return run(
        FinetuneConfig(
            input=tuple(input),
            text_column=text_column,
            text_pair_column=text_pair_column,
            label_column=label_column,
            model=model,
            output=output,
            eval_input=tuple(eval_input or ()),
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_length=max_length,
            weight_decay=weight_decay,
            warmup=warmup,
            seed=seed,
            format=format,
            overwrite=overwrite,
        )
    )


@app.command()
def quickstart(
    output: Annotated[str, typer.Option(help="Directory to write.")] = QuickstartConfig.output,
    seed: Seed = QuickstartConfig.seed,
) -> Any:
    """Do all of it on built-in text: about four minutes on two cores."""
    from jobs.quickstart.command import run

    return run(QuickstartConfig(output=output, seed=seed), execute)


def execute(words: Sequence[str]) -> Any:
    """Run the words of a command line, and return what the command's `run` returned."""
    command: Any = typer.main.get_command(app)
    return command.main(list(words), standalone_mode=False)


def expand_repeated_options(args: Sequence[str]) -> list[str]:
    """Let an option that may be repeated take several values, as a shell makes of an unquoted glob.

    >>> expand_repeated_options(["score", "--input", "a.tsv", "b.tsv", "--speed", "0.5"])
    ['score', '--input', 'a.tsv', '--input', 'b.tsv', '--speed', '0.5']
    """
    spread_out: list[str] = []
    repeated: str | None = None
    for arg in args:
        if arg.startswith("-"):
            repeated = arg if arg in _REPEATABLE else None
        elif repeated is not None and spread_out[-1] != repeated:
            spread_out.append(repeated)
        spread_out.append(arg)
    return spread_out


def _runner(context: typer.Context, runner: str, workers: int, threads: int | None) -> RunnerConfig:
    """Return the runner's configuration, with every leftover option checked."""
    from jobs.driver.runner import check_beam_args

    own = [name for parameter in context.command.params for name in parameter.opts]
    check_beam_args(context.args, own)
    return RunnerConfig(runner=runner, workers=workers, threads=threads, beam_args=tuple(context.args))


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 2 a mistake that the user can cure, 130 interrupted."""
    from model.engine.malloc import disable_malloc_trim

    # Worker processes must not take a user's `model.py` for ours, and tokenizers must not warn of forks.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    quieten_beam()
    disable_malloc_trim()
    command: Any = typer.main.get_command(app)
    args = expand_repeated_options(sys.argv[1:] if args is None else args) or ["--help"]
    try:
        status = command.main(args, prog_name=_PROGRAM, standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        status = _EXIT_INTERRUPTED
    except _UsageError as error:
        _fail(error.format_message(), _EXIT_USAGE)
    except ValueError as error:
        from model.errors import FastBertJobsError

        if not isinstance(error, FastBertJobsError):
            raise
        _fail(in_options(_BEAM_STEP.sub("", str(error))), _EXIT_USAGE)
    if status == _EXIT_INTERRUPTED:  # typer catches some interrupts itself, and returns this
        _fail("interrupted" + _RESUME_HINTS.get(args[0], ""), _EXIT_INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def in_options(message: str) -> str:
    """Return a message of the library with its parameters spelt as options.

    >>> in_options("`max_length` 2 is not between 4 and 512")
    '--max-length 2 is not between 4 and 512'
    """
    command: Any = typer.main.get_command(app)
    known = {name for each in command.commands.values() for param in each.params for name in param.opts}

    def as_option(found: re.Match[str]) -> str:
        option = _OPTIONS.get(found[1], f"--{found[1].replace('_', '-')}")
        return option if option in known else found[0]

    return re.sub(r"`([a-z_]+)`", as_option, message)


def _fail(message: str, status: int) -> NoReturn:
    print(f"{_PROGRAM}: {message}", file=sys.stderr)  # noqa: T201 - the one place that reports an error
    sys.exit(status)
