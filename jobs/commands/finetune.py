"""`fastbert-jobs finetune`: labelled rows to a Hugging Face classifier, for those who have none yet."""

from dataclasses import dataclass, replace

from jobs.configs.finetune import FinetuneConfig
from jobs.driver.atomic_directory import AtomicOutputDirectory
from jobs.driver.finetune_material import FinetuneMaterial, prepare_finetuning
from jobs.driver.finetune_metrics import FinetuneJob, FinetuneMetrics, digest, without_places
from jobs.driver.resumable_state import resumable_state
from jobs.driver.uploaded_directory import output_directory
from jobs.terminal.classifier_table import describe_quality, label_table
from jobs.terminal.console import print_next_step, print_settings, stdout_console, training_progress
from model.answers.task import Task
from model.checkpoints.fingerprint import checkpoint_hash
from model.checkpoints.hub import METRICS_FILE
from model.checkpoints.loading import silence_transformers
from model.engine.openmp import torch_threads
from model.training.classifier import FinetuningResult, finetune
from model.training.finetuning.learner import FinetuningEpoch
from model.training.finetuning.quality import Quality
from model.training.finetuning.settings import BestBy, default_learning_rate
from model.training.resume import TrainingState
from model.training.training_config import TrainingConfig
from pipeline.contract.typed_json import write_typed
from pipeline.reading.input_files import find_files
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.training_hashes import write_teacher_texts


@dataclass(frozen=True, kw_only=True)
class FinetuneSummary:
    """What `finetune` made.

    Attributes:
        output: the classifier's directory.
        labels: label names in the order of the logits; of a regression what its number is called.
        num_rows: rows trained on.
        quality: on the rows to judge by, of the epoch that was kept; None without them.
    """

    output: str
    labels: tuple[str, ...]
    num_rows: int
    quality: Quality | None


def run(config: FinetuneConfig) -> FinetuneSummary:
    """Fine-tune a classifier.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    training = _training(config)
    files = find_files((*config.input, *config.eval_input), format=config.format)
    working = output_directory(
        config.output,
        overwrite=config.overwrite,
        resume=config.resume,
        sources=(config.model, *(file.path for file in files)),
    )
    material = prepare_finetuning(config)
    if config.learning_rate is None:
        rate = default_learning_rate(material.model.config.hidden_size)
        config, training = replace(config, learning_rate=rate), replace(training, learning_rate=rate)
    with working.open(), torch_threads(config.threads):
        state = resumable_state(working, _job(config, material))
        _show(config, material)
        result = _train(config, training, state, material)
        _save(config, working, material, result)
        working.finish()
    _conclude(config, result)
    return FinetuneSummary(
        output=config.output,
        labels=material.labels,
        num_rows=len(material.rows),
        quality=None if result.report is None else result.report.quality,
    )


def _training(config: FinetuneConfig) -> TrainingConfig:
    """Return how to train, checked before anything is read; the learning rate may still be chosen."""
    return TrainingConfig(
        epochs=config.epochs,
        learning_rate=default_learning_rate(0) if config.learning_rate is None else config.learning_rate,
        batch_size=config.batch_size,
        seed=config.seed,
        weight_decay=config.weight_decay,
        warmup=config.warmup,
    )


def _show(config: FinetuneConfig, material: FinetuneMaterial) -> None:
    """Print what was decided."""
    task, rows = Task.named(config.task), material.rows
    answers = "a regression" if task is Task.SCORE else f"{len(material.labels)} labels"
    told = f"{len(rows):,} rows, {rows.num_rejected:,} without text or label left out"
    if task is Task.LABEL_SET:
        answers += " of which any number may hold"
        told += f", {sum(not label for label in rows.labels):,} of which no label holds"
    judged = "nothing, the last epoch is kept"
    if material.eval_rows is not None:
        of_own = "" if config.eval_input else " of the input, drawn by hash, that are not trained on"
        best_by = BestBy.choose(config.settings.best_by, task)
        judged = f"{len(material.eval_rows):,} rows{of_own}; the best epoch by {best_by} is kept"
    batches = f"batches of {config.batch_size}"
    if config.gradient_accumulation > 1:
        batches += f", {config.gradient_accumulation} of them for a step"
    print_settings(
        stdout_console(),
        {
            "model": f"{config.model}, {material.model.config.model_type}, {answers}",
            "input": told,
            "judged by": judged,
            "training": f"{config.epochs} epochs, {batches}, learning rate {config.learning_rate:g}",
            "runs on": f"{material.execution.device}, {material.execution.precision}",
        },
    )


def _job(config: FinetuneConfig, material: FinetuneMaterial) -> FinetuneJob:
    """Return all that the weights depend on."""
    return FinetuneJob(
        # What the rows are is told below; and threads round, but decide nothing.
        config=replace(without_places(config), input=(), eval_input=(), model="", threads=None),
        model=checkpoint_hash(material.directory),
        rows=digest(material.rows),
        eval_rows=digest(material.eval_rows),
        device=material.execution.device,
    )


def _train(
    config: FinetuneConfig, training: TrainingConfig, state: TrainingState, material: FinetuneMaterial
) -> FinetuningResult:
    """Train the classifier, and print how it does after every epoch."""

    def on_epoch(epoch: FinetuningEpoch) -> None:
        line = f"epoch {epoch.epoch} of {config.epochs}: loss {epoch.loss:.4f}"
        if epoch.quality is not None and material.eval_rows is not None:
            line += f"; on {len(material.eval_rows):,} rows {describe_quality(epoch.quality)}"
        stdout_console().print(line, soft_wrap=True)

    with training_progress("finetune") as on_step:
        return finetune(
            material.model,
            material.tokenizer,
            material.rows,
            training,
            config.settings,
            max_length=config.max_length,
            evaluation=material.eval_rows,
            execution=material.execution,
            state=state,
            on_step=on_step,
            on_epoch=on_epoch,
        )


def _save(
    config: FinetuneConfig,
    working: AtomicOutputDirectory,
    material: FinetuneMaterial,
    result: FinetuningResult,
) -> None:
    """Write the classifier, its tokenizer and how it was made."""
    rows, report = material.rows, result.report
    with silence_transformers():
        material.model.save_pretrained(working.partial)
    # What reads the classifier cuts texts as they were cut here.
    material.tokenizer.model_max_length = config.max_length
    material.tokenizer.save_pretrained(working.partial)
    hashes = text_hashes(rows.texts, rows.text_pairs)
    write_teacher_texts(working.partial, [*material.learnt_before, *hashes])
    metrics = FinetuneMetrics(
        config=without_places(config),
        num_rows=len(rows),
        num_rejected=rows.num_rejected,
        num_eval_rows=len(material.eval_rows or ()),
        epochs=tuple(result.epochs),
        best_epoch=result.best_epoch,
        quality=report.quality if report else None,
        by_label=report.by_label if report else (),
        confusion=report.confusion if report else (),
    )
    write_typed(str(working.partial / METRICS_FILE), metrics)


def _conclude(config: FinetuneConfig, result: FinetuningResult) -> None:
    """Print how the classifier does, and what to run next."""
    console, report = stdout_console(), result.report
    if report is not None:
        if (made := label_table(report)) is not None:
            console.print(made)
        console.print(
            f"epoch {result.best_epoch} is kept: {describe_quality(report.quality)}", soft_wrap=True
        )
        if report.collapse:
            console.print(f"warning: {report.collapse}", style="bold red", soft_wrap=True)
    console.print(f"wrote {config.output}")
    pair = ("--text-pair-column", config.text_pair_column) if config.text_pair_column else ()
    print_next_step(
        console, "label-teacher", "--input", "CORPUS", "--text-column", config.text_column, *pair,
        "--teacher", config.output, "--max-length", config.max_length, "--output", "labels",
    )  # fmt: skip
