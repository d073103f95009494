"""`fastbert-jobs distill`: soft labels to a FastBERT, branches around a frozen backbone."""

import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from jobs.configs.distill import DistillConfig
from jobs.driver.atomic_directory import AtomicOutputDirectory
from jobs.driver.distill_metrics import DistillMetrics
from jobs.driver.distill_setup import (
    check_same_job,
    describe_job,
    held_out_texts,
    load_fastbert,
    new_metrics,
    open_soft_labels,
    texts_learnt_before,
)
from jobs.driver.process_group import describe_processes, process_group, take_device
from jobs.driver.resumable_state import resumable_state
from jobs.driver.uploaded_directory import output_directory
from jobs.report.distillation_page import DISTILLATION_PAGE_FILE, distillation_page
from jobs.report.page import write_page
from jobs.terminal.console import (
    counting_progress,
    print_next_step,
    print_settings,
    stdout_console,
    table,
    training_progress,
)
from jobs.terminal.launch import Launch
from model.checkpoints.hub import METRICS_FILE
from model.engine.engine import Engine
from model.engine.execution import Device, Precision, execution_here
from model.fastbert import FastBertForSequenceClassification
from model.training.branches import backbone_engine, train_branches
from model.training.distillation_result import RoundQualities
from model.training.lexical_branch import check_lexical_branch, train_lexical_branch
from pipeline.contract.typed_json import read_typed, write_typed
from pipeline.reading.remote_checkpoints import find_checkpoint
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.training_hashes import read_teacher_texts, write_branch_texts, write_teacher_texts


@dataclass(frozen=True, kw_only=True)
class DistillSummary:
    """What `distill` made.

    Attributes:
        output: the FastBERT's directory.
        metrics: how the branches did.
    """

    output: str
    metrics: DistillMetrics


def run(config: DistillConfig) -> DistillSummary:
    """Train the branches; under torchrun together with the other processes, of which the first does the rest.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    launch = Launch.of_environment()
    take_device(launch, config.device)
    if launch is None or launch.rank == 0:
        return _lead(config, launch)
    # What libraries warn of, the first says.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return _follow(config, launch)


def _follow(config: DistillConfig, launch: Launch) -> DistillSummary:
    """Train with the others, and write nothing."""
    labels = open_soft_labels(config)
    model = load_fastbert(config, labels)
    engine = backbone_engine(model, execution_here(Precision(config.precision), Device(config.device)))
    job = describe_job(config, model, labels, engine.execution)
    held_out = held_out_texts(labels, texts_learnt_before(config))
    metrics = new_metrics(config, job, labels, held_out)
    is_continued = config.continue_from is not None
    with process_group(launch, engine.device) as ranks:
        check_same_job(metrics.config, ranks)
        result = train_branches(
            model,
            labels,
            config.distillation,
            engine=engine,
            held_out=held_out,
            is_continued=is_continued,
            ranks=ranks,
        )
    metrics = replace(metrics, rounds=tuple(result.rounds), epochs=result.epochs, branches=result.branches)
    return DistillSummary(output=config.output, metrics=metrics)


def _lead(config: DistillConfig, launch: Launch | None) -> DistillSummary:
    """Train, and do all that is done once."""
    working = output_directory(
        config.output,
        overwrite=config.overwrite,
        resume=config.resume,
        sources=(config.source, *config.labels),
    )
    labels = open_soft_labels(config)
    model = load_fastbert(config, labels)
    check_lexical_branch(
        megabytes=config.lexical_size,
        num_labels=len(model.labels),
        num_texts=labels.num_train_rows,
        task=model.task,
    )
    # Before the work: it may be damaged.
    teacher_texts = read_teacher_texts(find_checkpoint(config.source))
    learnt_before = texts_learnt_before(config)
    execution = execution_here(Precision(config.precision), Device(config.device))
    with working.open():
        engine = backbone_engine(model, execution)
        metrics = _train(config, model, engine, labels, learnt_before, working, launch)
        model.save_pretrained(working.partial)
        write_branch_texts(working.partial, chain(learnt_before, labels.train_hashes()))
        if teacher_texts is not None:
            write_teacher_texts(working.partial, teacher_texts)
        write_typed(str(working.partial / METRICS_FILE), metrics)
        page = distillation_page(
            metrics, source=config.source, task=model.task, decided=_decided(config, model, labels)
        )
        write_page(str(working.partial), DISTILLATION_PAGE_FILE, page)
        working.finish()
    console = stdout_console()
    rows = f"{labels.num_train_rows:,} rows, {metrics.epochs:.3g} epochs"
    where = FileSystems.join(config.output, DISTILLATION_PAGE_FILE)
    console.print(f"{rows}; wrote {config.output}, to look at: {where}", soft_wrap=True)
    if summary := metrics.describe():
        console.print(summary, soft_wrap=True)
    labels_options = chain.from_iterable(("--labels", directory) for directory in labels.directories)
    print_next_step(console, "calibrate", "--model", config.output, *labels_options)
    return DistillSummary(output=config.output, metrics=metrics)


def _decided(
    config: DistillConfig, model: FastBertForSequenceClassification, labels: SoftLabels
) -> dict[str, str]:
    """Return what was decided, but for what runs it."""
    lexical = (
        f"a lexical one of at most {config.lexical_size:g} MB" if config.lexical_size else "none lexical"
    )
    design = model.config.branch_design + (", trained on" if config.continue_from else "")
    true = ""
    if config.true_labels:
        true = f"; true labels of {config.true_labels!r} weigh {config.true_label_weight:g}"
    return {
        "backbone": f"{config.source}, {model.num_layers} layers, frozen",
        "labels": f"{labels.num_train_rows:,} rows to train on, cut to {labels.max_length} tokens{true}",
        "branches": f"{len(model.branches)}, {design}, KL {config.kl_direction}; {lexical}",
    }


def _train(
    config: DistillConfig,
    model: FastBertForSequenceClassification,
    engine: Engine,
    labels: SoftLabels,
    learnt_before: frozenset[bytes],
    working: AtomicOutputDirectory,
    launch: Launch | None,
) -> DistillMetrics:
    """Train the branches of `model`, and return how they did."""
    job = describe_job(config, model, labels, engine.execution)
    state = resumable_state(working, job)
    path = str(working.partial / METRICS_FILE)
    held_out = held_out_texts(labels, learnt_before)
    metrics = new_metrics(config, job, labels, held_out)
    if working.partial.joinpath(METRICS_FILE).is_file():
        # Of the rounds that a killed run had finished, too.
        metrics = replace(metrics, rounds=read_typed(path, DistillMetrics, cure="`overwrite` it").rounds)
    runs_on = engine.execution.summary() + describe_processes(launch)
    print_settings(stdout_console(), {**_decided(config, model, labels), "runs on": runs_on})

    def on_round(qualities: RoundQualities) -> None:
        nonlocal metrics
        metrics = metrics.with_round(qualities)
        write_typed(path, metrics)

    is_length_known = config.distillation.epochs is not None
    with (
        process_group(launch, engine.device) as ranks,
        training_progress("distill", is_length_known=is_length_known) as on_step,
    ):
        check_same_job(job, ranks)
        result = train_branches(
            model,
            labels,
            config.distillation,
            engine=engine,
            held_out=held_out,
            is_continued=config.continue_from is not None,
            state=state,
            on_step=on_step,
            on_round=on_round,
            ranks=ranks,
        )
    with counting_progress("lexical branch", unit="texts") as on_texts:
        lexical = train_lexical_branch(
            model,
            labels,
            config.distillation,
            held_out=held_out,
            is_continued=config.continue_from is not None,
            on_texts=on_texts,
        )
    branches = result.branches if lexical is None else (lexical, *result.branches)
    metrics = replace(metrics, epochs=result.epochs, branches=branches)
    _show_branches(metrics)
    return metrics


def _show_branches(metrics: DistillMetrics) -> None:
    """Print how the branches do."""
    if not metrics.branches:
        return
    rows = [
        (f"{branch.layer}", f"{branch.kl:.4f}", f"{branch.train_kl:.4f}", f"{branch.agreement:.2%}")
        for branch in metrics.branches
    ]
    title = f"after {metrics.epochs:.3g} epochs, {metrics.num_held_out_rows:,} held-out rows"
    columns = ("branch after layer", "KL to teacher", "on its own texts", "agreement")
    stdout_console().print(table(title, columns, rows))
