"""`fastbert-jobs distill`: soft labels to a FastBERT, branches around a frozen backbone."""

import json
from dataclasses import dataclass, replace

from jobs.configs.distill import DistillConfig
from jobs.driver.atomic_directory import METRICS_FILE, STATE_FILE, AtomicOutputDirectory
from jobs.driver.compatibility import check_labels_match_model
from jobs.terminal.console import print_next_step, print_settings, stdout_console, table, training_progress
from model.checkpoints.fingerprint import checkpoint_hash
from model.checkpoints.hub import resolve_checkpoint
from model.checkpoints.loading import load_classifier, load_tokenizer
from model.engine.engine import Engine
from model.engine.execution import Backend, Execution, Precision, resolve_execution
from model.errors import OutputError
from model.fastbert import FastBertForSequenceClassification
from model.training.branches import DistillationConfig, EpochQualities, backbone_engine, train_branches
from model.training.loop import TrainingConfig
from model.training.resume import TrainingState
from model.training.self_distillation import BranchQuality, KlDirection
from model.version import NUMERICS_VERSION
from pipeline.contract.job import differences
from pipeline.contract.typed_json import as_plain, read_typed, write_typed
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.training_hashes import write_training_hashes


@dataclass(frozen=True, kw_only=True)
class DistillationJob:
    """All that the branches' weights depend on.

    Attributes:
        labels: fingerprints of the soft labels.
        backbone: hash of the backbone's checkpoint.
        epochs: passes over the soft labels.
        learning_rate: highest learning rate.
        batch_size: texts per step.
        seed: of the branches' first weights and of the order.
        kl_direction: which way the divergence from the teacher is taken.
        hard_label_weight: weight of the cross-entropy with the teacher's answers.
        precision: number format of the frozen backbone.
        backend: whose operators run it.
        numerics_version: of what computes.
    """

    labels: tuple[str, ...]
    backbone: str
    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    kl_direction: KlDirection
    hard_label_weight: float
    precision: Precision
    backend: Backend
    numerics_version: int = NUMERICS_VERSION

    @property
    def as_text(self) -> str:
        """The job as the training state keeps it: equal jobs are equal text."""
        return json.dumps(as_plain(self), sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class DistillMetrics:
    """What was asked for and how every branch did, epoch by epoch; `metrics.json` holds it.

    Attributes:
        config: what was asked for.
        num_train_rows: rows per epoch.
        epochs: every branch's quality after each epoch; empty where nothing is held out.
    """

    config: DistillationJob
    num_train_rows: int
    epochs: tuple[tuple[BranchQuality, ...], ...] = ()

    def with_epoch(self, qualities: EpochQualities) -> "DistillMetrics":
        """Return these with an epoch, in place of an earlier run's that was not saved."""
        epochs = (*self.epochs[: qualities.epoch - 1], tuple(qualities.branches))
        return replace(self, epochs=epochs)


@dataclass(frozen=True, kw_only=True)
class DistillSummary:
    """What `distill` made.

    Attributes:
        output: the FastBERT's directory.
        num_train_rows: rows per epoch.
        epochs: every branch's quality after each epoch; empty where nothing is held out.
    """

    output: str
    num_train_rows: int
    epochs: tuple[tuple[BranchQuality, ...], ...]


def run(config: DistillConfig) -> DistillSummary:
    """Train the branches.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    distillation = _distillation(config)
    labels = SoftLabels.open(config.labels)
    working = AtomicOutputDirectory(
        config.output,
        overwrite=config.overwrite,
        resume=config.resume,
        sources=(config.backbone, *labels.directories),
    )
    labels.check_trainable()
    model = _load(config, labels)
    execution = resolve_execution(Precision(config.precision))
    working.start()
    engine = backbone_engine(model, execution)
    metrics = _train(config, distillation, model, engine, labels, working)
    model.save_pretrained(working.partial)
    write_training_hashes(working.partial, labels.train_hashes())
    write_typed(str(working.partial / METRICS_FILE), metrics)
    working.finish()
    console = stdout_console()
    console.print(f"{labels.num_train_rows:,} rows, {config.epochs} epochs; wrote {config.output}")
    labels_option = " ".join(f"--labels {directory}" for directory in labels.directories)
    print_next_step(
        console,
        f"fastbert-jobs calibrate --model {config.output} {labels_option}",
    )
    return DistillSummary(output=config.output, num_train_rows=labels.num_train_rows, epochs=metrics.epochs)


def _distillation(config: DistillConfig) -> DistillationConfig:
    """Return how to train the branches."""
    return DistillationConfig(
        training=TrainingConfig(
            epochs=config.epochs,
            learning_rate=config.learning_rate,
            batch_size=config.batch_size,
            seed=config.seed,
        ),
        kl_direction=KlDirection(config.kl_direction),
        hard_label_weight=config.hard_label_weight,
    )


def _load(config: DistillConfig, labels: SoftLabels) -> FastBertForSequenceClassification:
    """Return the backbone with fresh branches, checked against the soft labels."""
    directory = resolve_checkpoint(config.backbone)
    backbone, tokenizer = load_classifier(directory), load_tokenizer(directory)
    model = FastBertForSequenceClassification.from_backbone(
        backbone, tokenizer, max_length=labels.max_length, seed=config.seed
    )
    check_labels_match_model(model, config.backbone, labels)
    return model


def _show(
    config: DistillConfig, model: FastBertForSequenceClassification, labels: SoftLabels, execution: Execution
) -> None:
    """Print what was decided."""
    print_settings(
        stdout_console(),
        {
            "backbone": f"{config.backbone}, {model.num_layers} layers, frozen",
            "labels": f"{labels.num_train_rows:,} rows to train on, cut to {labels.max_length} tokens",
            "branches": f"{len(model.branches)}, KL {config.kl_direction}",
            "runs on": execution.summary(),
        },
    )


def _train(
    config: DistillConfig,
    distillation: DistillationConfig,
    model: FastBertForSequenceClassification,
    engine: Engine,
    labels: SoftLabels,
    working: AtomicOutputDirectory,
) -> DistillMetrics:
    """Train the branches of `model`, and return how they did."""
    job = _describe(config, labels, engine.execution)
    state = _resumable_state(working, job)
    path = str(working.partial / METRICS_FILE)
    metrics = DistillMetrics(config=job, num_train_rows=labels.num_train_rows)
    if working.partial.joinpath(METRICS_FILE).is_file():
        # Of the epochs that a killed run had finished, too.
        metrics = replace(metrics, epochs=read_typed(path, DistillMetrics, cure="`overwrite` it").epochs)
    _show(config, model, labels, engine.execution)
    held_out = labels.held_out()

    def on_epoch(qualities: EpochQualities) -> None:
        nonlocal metrics
        metrics = metrics.with_epoch(qualities)
        write_typed(path, metrics)
        _show_epoch(qualities, config.epochs, 0 if held_out is None else len(held_out))

    with training_progress("distill") as on_step:
        train_branches(
            model,
            labels,
            distillation,
            engine=engine,
            held_out=held_out,
            state=state,
            on_step=on_step,
            on_epoch=on_epoch,
        )
    return metrics


def _show_epoch(qualities: EpochQualities, num_epochs: int, num_held_out: int) -> None:
    """Print how the branches do after an epoch."""
    rows = [(f"{q.layer}", f"{q.kl:.4f}", f"{q.agreement:.2%}") for q in qualities.branches]
    title = f"epoch {qualities.epoch} of {num_epochs}, {num_held_out:,} held-out rows"
    stdout_console().print(table(title, ("branch after layer", "KL to teacher", "agreement"), rows))


def _describe(config: DistillConfig, labels: SoftLabels, execution: Execution) -> DistillationJob:
    """Return all that the weights depend on."""
    return DistillationJob(
        labels=labels.fingerprints,
        backbone=checkpoint_hash(resolve_checkpoint(config.backbone)),
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        seed=config.seed,
        kl_direction=KlDirection(config.kl_direction),
        hard_label_weight=config.hard_label_weight,
        precision=execution.precision,
        backend=execution.backend,
    )


def _resumable_state(working: AtomicOutputDirectory, job: DistillationJob) -> TrainingState:
    """Return where to save and resume.

    Raises:
        OutputError: if the killed run had another configuration.
    """
    state = TrainingState(path=working.partial / STATE_FILE, job=job.as_text)
    saved = state.saved_job()
    if saved is not None and saved != state.job:
        raise OutputError(
            f"{str(working.partial)!r} is another run's, which differs in "
            f"{differences(as_plain(job), json.loads(saved))}; give the same options, or `overwrite` it"
        )
    return state
