"""`fastbert-jobs label-teacher`: a corpus to the teacher's soft labels."""

from pathlib import Path

from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.driver.beam_driver import run_corpus_job
from jobs.driver.dask_cluster import check_dask
from jobs.driver.dataflow import check_dataflow
from jobs.driver.job_options import job_options
from jobs.driver.job_outcome import JobOutcome, describe_input
from jobs.driver.planned_job import PlannedJob, open_plan
from jobs.driver.runner import take_device
from jobs.terminal.answer_shares import describe_answers, warn_of_one_answer
from jobs.terminal.console import print_next_step, stdout_console
from model.answers.task import Task
from model.checkpoints.loading import load_config
from model.network.config import FastBertConfig
from pipeline.contract.columns import Columns
from pipeline.contract.job import LabelSettings
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import DISTINCT_TEXTS, LabelManifest
from pipeline.contract.schema import CALIBRATION_SPLIT, TRAIN_SPLIT
from pipeline.results.teacher_answers import count_teacher_answers
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.label_task import LEARNT_BY_TEACHER, LabelTask
from pipeline.transforms.labelling import label_job


def run(config: LabelTeacherConfig) -> JobOutcome[LabelManifest] | None:
    """Label a corpus, or do what is asked of it.

    Returns:
        The finished job; None where there is none yet.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    # All of it before the input is read, which may take long.
    check_dataflow(
        config.runner,
        inputs={"input": config.input, "teacher_training_input": config.teacher_training_input},
        outputs={"output": config.output},
        model=config.teacher,
    )
    planned = open_plan(config)
    check_dask(config.runner)
    take_device(config.runner, config.device)
    job = _job(config, planned)
    outcome = run_corpus_job(job, config, _banner(config, job))
    if outcome is not None:
        _summarise(config, outcome)
        assert isinstance(job.task, LabelTask)
        if job.task.task is Task.ONE_LABEL:
            _show_answers(config, outcome)
        _say_what_is_next(config, job.task, outcome)
    return outcome


def _job(config: LabelTeacherConfig, planned: PlannedJob | None) -> CorpusJob[LabelManifest]:
    return label_job(
        input=config.input,
        columns=Columns(
            text=config.text_column,
            text_pair=config.text_pair_column,
            id=config.id_column,
            group=config.group_column,
            keep=config.keep,
        ),
        teacher=config.teacher,
        output=config.output,
        max_length=config.max_length,
        calibration_fraction=config.calibration_fraction,
        promise_of=config.promise_of,
        teacher_training_input=config.teacher_training_input,
        **job_options(config, planned),
    )


def _banner(config: LabelTeacherConfig, job: CorpusJob[LabelManifest]) -> dict[str, object]:
    task, settings = job.task, job.task.settings
    assert isinstance(task, LabelTask)
    assert isinstance(settings, LabelSettings)
    return {
        "teacher": f"{config.teacher}, {task.task.describe(len(task.labels))}",
        "learnt from": _describe_teacher_texts(task.num_teacher_texts),
        "input": describe_input(job),
        "texts": f"cut to {settings.max_length} tokens, "
        f"{settings.calibration_fraction:.2%} of the {settings.unit.counted} for calibration",
        "runs on": f"{task.execution.summary()}, {config.runner.runner}",
    }


def _describe_teacher_texts(num_texts: int | None) -> str:
    if num_texts is None:
        return (
            "texts that are not known here: name them with --teacher-training-input where the input holds "
            "some, since they would make certificates too good"
        )
    return f"{num_texts:,} distinct texts, which calibrate nothing"


def _summarise(config: LabelTeacherConfig, outcome: JobOutcome[LabelManifest]) -> None:
    console, counts = stdout_console(), outcome.manifest.counts
    console.print(outcome.describe_rows())
    console.print(
        f"{counts.get(TRAIN_SPLIT, 0):,} rows to train on, "
        f"{counts.get(CALIBRATION_SPLIT, 0):,} for calibration; "
        f"{counts.get(DISTINCT_TEXTS, 0):,} texts were run"
    )
    if left_out := counts.get(LEARNT_BY_TEACHER, 0):
        console.print(
            f"{left_out:,} more rows were drawn for calibration, and are not used for it: "
            "the teacher was fine-tuned on them",
            soft_wrap=True,
        )
    elif config.teacher_training_input:
        console.print(
            "none of the texts that the teacher learnt from was drawn for calibration: are those of "
            "--teacher-training-input spelt as in the input?",
            soft_wrap=True,
        )


def _show_answers(config: LabelTeacherConfig, outcome: JobOutcome[LabelManifest]) -> None:
    """Print how the answers are spread, where there are any."""
    counts = count_teacher_answers(OutputLayout(config.output), outcome.manifest)
    if counts:
        console = stdout_console()
        console.print(describe_answers(counts, len(outcome.manifest.labels)), soft_wrap=True)
        if warning := warn_of_one_answer(counts):
            console.print(warning, style="bold red", soft_wrap=True)


def _say_what_is_next(
    config: LabelTeacherConfig, task: LabelTask, outcome: JobOutcome[LabelManifest]
) -> None:
    labels = ("--labels", config.output)
    if not outcome.manifest.counts.get(TRAIN_SPLIT, 0):
        print_next_step(stdout_console(), "calibrate", "--model", "fastbert", *labels)
    elif isinstance(load_config(Path(task.directory)), FastBertConfig):
        print_next_step(stdout_console(), "calibrate", "--model", config.teacher, *labels)
    else:
        backbone = ("--backbone", config.teacher)
        print_next_step(stdout_console(), "distill", *labels, *backbone, "--output", "fastbert")
