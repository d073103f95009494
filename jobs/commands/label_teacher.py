"""`fastbert-jobs label-teacher`: a corpus to the teacher's soft labels."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.driver.beam_driver import BeamJob, JobOutcome, describe_input, run_beam_job
from jobs.driver.runner import DEFAULT_ROWS_PER_SHARD, RunnerConfig
from jobs.terminal.console import print_next_step, stdout_console
from jobs.terminal.options import FormatName, PrecisionName
from model.checks import check_fraction

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
            ParameterError: naming the option and the rule.
        """
        check_fraction("calibration_fraction", self.calibration_fraction)
        check_fraction("max_rejected", self.max_rejected)


def run(config: LabelTeacherConfig) -> JobOutcome:
    """Label a corpus.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    from pathlib import Path

    from model.checkpoints.fingerprint import checkpoint_hash
    from model.engine.execution import Precision
    from pipeline.reading.inputs import Columns, inspect_inputs
    from pipeline.transforms.labeling import LabelTask, LabelWithTeacher

    columns = Columns(text=config.text_column, text_pair=config.text_pair_column, id=config.id_column)
    inputs = inspect_inputs(config.input, columns, rows_per_shard=config.rows_per_shard, format=config.format)
    task = LabelTask.for_teacher(
        config.teacher,
        inputs,
        max_length=config.max_length,
        calibration_fraction=config.calibration_fraction,
        precision=Precision(config.precision),
    )
    outcome = run_beam_job(
        BeamJob(
            command=COMMAND,
            output=config.output,
            overwrite=config.overwrite,
            settings={
                "model": checkpoint_hash(Path(task.teacher)),
                **task.execution.fingerprint_fields,
                "max_length": task.max_length,
                "calibration_fraction": config.calibration_fraction,
                "columns": vars(columns),
                "rows_per_shard": config.rows_per_shard,
            },
            inputs=inputs,
            task=task,
            transform=LabelWithTeacher,
            facts={"teacher": config.teacher},
            runner=config.runner,
            decisions={
                "teacher": f"{config.teacher}, {len(task.labels)} labels",
                "input": describe_input(inputs),
                "texts": f"cut to {task.max_length} tokens, "
                f"{config.calibration_fraction:.0%} for calibration",
                "runs on": f"{task.execution.summary()}, {config.runner.runner}",
            },
            max_rejected=config.max_rejected,
        )
    )
    _summarise(config, outcome)
    return outcome


def _summarise(config: LabelTeacherConfig, outcome: JobOutcome) -> None:
    from pipeline.contract.schema import CALIBRATION_SPLIT, TRAIN_SPLIT
    from pipeline.transforms.write_shards import DISTINCT_TEXTS

    console, counts = stdout_console(), outcome.manifest.counts
    console.print(outcome.describe_rows())
    console.print(
        f"{counts.get(TRAIN_SPLIT, 0):,} rows to train on, "
        f"{counts.get(CALIBRATION_SPLIT, 0):,} for calibration; "
        f"{counts.get(DISTINCT_TEXTS, 0):,} texts were run"
    )
    print_next_step(
        console,
        f"fastbert-jobs distill --labels {config.output} --backbone {config.teacher} --output fastbert",
    )
