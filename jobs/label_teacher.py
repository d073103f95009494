"""`fastbert-jobs label-teacher`: a corpus to the teacher's soft labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs.beam_job import BeamJob, JobOutcome, run_beam_job
from jobs.console import next_command, results, show_decisions
from jobs.options import FormatName, PrecisionName
from jobs.runner import DEFAULT_ROWS_PER_SHARD, RunnerConfig

if TYPE_CHECKING:
    from pipeline.labeling import LabelTask
    from pipeline.work import RowReading

COMMAND = "label-teacher"


@dataclass(frozen=True, kw_only=True)
class LabelTeacherConfig:
    """What `label-teacher` is asked to do.

    Attributes:
        input: paths, globs or directories.
        text_column: column to classify.
        text_pair_column: second text of a pair.
        id_column: passed through as `id`.
        teacher: directory or hub name of the teacher.
        output: directory of the shards.
        rows_per_shard: most rows of a shard.
        max_length: tokens that a text is cut to; None for what the teacher takes, at most 512.
        calibration_fraction: share of the texts that training never sees.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        format: of the input; None to go by the extensions.
        max_rejected: largest share of rows that may be rejected.
        overwrite: whether another job's output may be deleted.
        runner: where it runs.
    """

    input: tuple[str, ...]
    text_column: str
    teacher: str
    output: str
    rows_per_shard: int = DEFAULT_ROWS_PER_SHARD
    text_pair_column: str | None = None
    id_column: str | None = None
    max_length: int | None = None
    calibration_fraction: float = 0.1
    precision: PrecisionName = "auto"
    format: FormatName | None = None
    max_rejected: float = 1.0
    overwrite: bool = False
    runner: RunnerConfig = field(default_factory=RunnerConfig)

    def __post_init__(self) -> None:
        """Check the shares.

        Raises:
            OptionError: naming the option and the rule.
        """
        check_share("--calibration-fraction", self.calibration_fraction)
        check_share("--max-rejected", self.max_rejected)


def check_share(option: str, value: float) -> None:
    """Refuse a share outside [0, 1].

    Raises:
        OptionError: naming the option.
    """
    from model.errors import OptionError

    if not 0 <= value <= 1:
        raise OptionError(f"{option} {value} is not a share, 0 to 1")


def run(config: LabelTeacherConfig) -> JobOutcome:
    """Label a corpus; see the README for the errors that a user can make."""
    from model.checkpoint import checkpoint_hash, resolve_checkpoint
    from pipeline.labeling import LabelWithTeacher
    from pipeline.sources import Columns, inspect_inputs
    from pipeline.work import RowReading

    columns = Columns(text=config.text_column, text_pair=config.text_pair_column, id=config.id_column)
    directory = resolve_checkpoint(config.teacher)
    inputs = inspect_inputs(config.input, columns, rows_per_shard=config.rows_per_shard, format=config.format)
    task = _make_task(config, str(directory), RowReading(columns=columns, id_type=inputs.id_type))
    console = results()
    show_decisions(
        console,
        {
            "teacher": f"{config.teacher}, {len(task.labels)} labels",
            "input": f"{len(inputs.sources):,} files, {len(inputs.plan().items):,} shards",
            "texts": f"cut to {task.max_length} tokens, {config.calibration_fraction:.0%} for calibration",
            "runs on": f"{task.execution.describe()}, {config.runner.runner}",
        },
    )
    outcome = run_beam_job(
        BeamJob(
            command=COMMAND,
            output=config.output,
            overwrite=config.overwrite,
            settings={
                "model": checkpoint_hash(directory),
                "precision": str(task.execution.precision),
                "max_length": task.max_length,
                "calibration_fraction": config.calibration_fraction,
                "columns": vars(columns),
                "rows_per_shard": config.rows_per_shard,
            },
            inputs=inputs,
            task=task,
            transform=LabelWithTeacher,
            labels=task.labels,
            execution=task.execution,
            facts={"teacher": config.teacher},
            runner=config.runner,
            max_rejected=config.max_rejected,
        )
    )
    _summarise(config, outcome)
    return outcome


def _make_task(config: LabelTeacherConfig, directory: str, reading: RowReading) -> LabelTask:
    """Check the teacher without loading its weights."""
    from pathlib import Path

    import torch
    from transformers import AutoModelForSequenceClassification

    from model.checkpoint import check_single_label, label_names, load_config, load_tokenizer
    from model.precision import Precision, resolve_execution
    from model.tokenization import choose_max_length, position_limit
    from pipeline.labeling import LabelTask

    teacher_config = load_config(Path(directory))
    check_single_label(teacher_config, config.teacher)
    tokenizer = load_tokenizer(Path(directory))
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(teacher_config)
    return LabelTask(
        reading=reading,
        teacher=directory,
        labels=label_names(teacher_config),
        max_length=choose_max_length(config.max_length, position_limit(model, tokenizer)),
        calibration_fraction=config.calibration_fraction,
        execution=resolve_execution(Precision(config.precision)),
    )


def _summarise(config: LabelTeacherConfig, outcome: JobOutcome) -> None:
    console, counts = results(), outcome.manifest.counts
    console.print(outcome.describe_rows())
    console.print(
        f"{counts.get('train', 0):,} rows to train on, {counts.get('calibration', 0):,} for calibration; "
        f"{counts.get('distinct_texts', 0):,} texts were run"
    )
    next_command(
        console,
        f"fastbert-jobs distill --labels {config.output} --backbone {config.teacher} --output fastbert",
    )
