"""`fastbert-jobs distill`: soft labels to a FastBERT, branches around a frozen backbone."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jobs.driver.atomic_directory import METRICS_FILE, STATE_FILE, AtomicOutputDirectory
from jobs.driver.compatibility import check_labels_match_model
from jobs.terminal.console import (
    print_next_step,
    print_settings,
    stdout_console,
    table,
    training_progress,
)
from jobs.terminal.options import KlDirectionName, PrecisionName

if TYPE_CHECKING:
    from pathlib import Path

    from model.engine.engine import Engine
    from model.engine.execution import Execution
    from model.fastbert import FastBertForSequenceClassification
    from model.training.branches import DistillationConfig, EpochQualities
    from model.training.loop import TrainingConfig
    from model.training.resume import TrainingState
    from model.training.self_distillation import BranchQuality
    from pipeline.results.soft_labels import SoftLabels


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """What `distill` is asked to do.

    Attributes:
        labels: finished output of `label-teacher`.
        backbone: directory or hub name of the classifier that gets the branches.
        output: directory of the FastBERT.
        epochs: passes over the soft labels.
        learning_rate: highest learning rate.
        batch_size: texts a step.
        seed: of the branches' first weights and of the order.
        kl_direction: `teacher-student` or `student-teacher`.
        hard_label_weight: weight of the cross-entropy with the teacher's answers.
        precision: number format of the frozen backbone; the branches are trained in float32.
        resume: whether to go on where a killed run stopped.
        overwrite: whether to delete what an earlier run left.
    """

    labels: str
    backbone: str
    output: str
    epochs: int = 3
    learning_rate: float = 1e-3
    batch_size: int = 32
    seed: int = 0
    kl_direction: KlDirectionName = "teacher-student"
    hard_label_weight: float = 0.0
    precision: PrecisionName = "auto"
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check what the training loop does not.

        Raises:
            ParameterError: naming the option and the rule.
        """
        from model.errors import ParameterError

        if not 0 <= self.hard_label_weight < math.inf:
            raise ParameterError(f"--hard-label-weight {self.hard_label_weight} is not 0 or above")
        if self.resume and self.overwrite:
            raise ParameterError("--resume and --overwrite exclude each other")

    def training(self) -> TrainingConfig:
        """Return how to train.

        Raises:
            ParameterError: naming the option and the rule.
        """
        from model.training.loop import TrainingConfig

        return TrainingConfig(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            seed=self.seed,
        )


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
    epochs: list[list[BranchQuality]]


def run(config: DistillConfig) -> DistillSummary:
    """Train the branches.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    from model.engine.execution import Precision, resolve_execution
    from model.training.branches import backbone_engine
    from pipeline.results.soft_labels import SoftLabels
    from pipeline.sampling.training_hashes import write_training_hashes

    distillation = _distillation(config)
    working = AtomicOutputDirectory(
        config.output,
        overwrite=config.overwrite,
        resume=config.resume,
        sources=(config.backbone, config.labels),
    )
    labels = SoftLabels.open(config.labels)
    labels.check_trainable()
    model = _load(config, labels)
    execution = resolve_execution(Precision(config.precision))
    working.start()
    engine = backbone_engine(model, execution)
    metrics = _train(config, distillation, model, engine, labels, working)
    model.save_pretrained(working.partial)
    write_training_hashes(working.partial, labels.train_hashes())
    metrics.write()
    working.finish()
    console = stdout_console()
    console.print(f"{labels.num_train_rows:,} rows, {config.epochs} epochs; wrote {config.output}")
    print_next_step(
        console,
        f"fastbert-jobs calibrate --model {config.output} --labels {config.labels}",
    )
    return DistillSummary(output=config.output, num_train_rows=labels.num_train_rows, epochs=metrics.epochs)


def _distillation(config: DistillConfig) -> DistillationConfig:
    """Return how to train the branches."""
    from model.training.branches import DistillationConfig
    from model.training.self_distillation import KlDirection

    return DistillationConfig(
        training=config.training(),
        kl_direction=KlDirection(config.kl_direction),
        hard_label_weight=config.hard_label_weight,
    )


def _load(config: DistillConfig, labels: SoftLabels) -> FastBertForSequenceClassification:
    """Return the backbone with fresh branches, checked against the soft labels."""
    from model.checkpoints.hub import resolve_checkpoint
    from model.checkpoints.loading import load_classifier, load_tokenizer
    from model.fastbert import FastBertForSequenceClassification

    directory = resolve_checkpoint(config.backbone)
    backbone, tokenizer = load_classifier(directory), load_tokenizer(directory)
    model = FastBertForSequenceClassification.from_backbone(
        backbone, tokenizer, max_length=labels.max_length, seed=config.seed
    )
    check_labels_match_model(model, config.backbone, labels, config.labels)
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
) -> _Metrics:
    """Train the branches of `model`, and return how they did."""
    from model.training.branches import train_branches

    job = _describe(config, labels, engine.execution)
    state = _resumable_state(working, job)
    metrics = _Metrics.open(working.partial / METRICS_FILE, job, labels.num_train_rows)
    _show(config, model, labels, engine.execution)
    held_out = labels.held_out()

    def on_epoch(qualities: EpochQualities) -> None:
        metrics.add(qualities)
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


def _describe(config: DistillConfig, labels: SoftLabels, execution: Execution) -> dict[str, Any]:
    """Return all that the weights depend on."""
    from model.checkpoints.fingerprint import checkpoint_hash
    from model.checkpoints.hub import resolve_checkpoint

    training = {
        name: value
        for name, value in asdict(config).items()
        if name not in ("labels", "backbone", "output", "resume", "overwrite")
    }
    training |= {"precision": str(execution.precision), "backend": str(execution.backend)}
    return {
        "labels": labels.manifest.fingerprint,
        "backbone": checkpoint_hash(resolve_checkpoint(config.backbone)),
        **training,
    }


def _resumable_state(working: AtomicOutputDirectory, job: dict[str, Any]) -> TrainingState:
    """Return where to save and resume.

    Raises:
        OutputError: if the killed run had another configuration.
    """
    from model.errors import OutputError
    from model.training.resume import TrainingState
    from pipeline.contract.manifest import differences

    state = TrainingState(path=working.partial / STATE_FILE, job=json.dumps(job))
    saved = state.saved_job()
    if saved is not None and saved != state.job:
        raise OutputError(
            f"{str(working.partial)!r} is another run's, which differs in "
            f"{differences(job, json.loads(saved))}; give the same options, or --overwrite it"
        )
    return state


@dataclass
class _Metrics:
    """The file that says what was asked for and how every branch did, epoch by epoch."""

    path: Path
    job: dict[str, Any]
    num_train_rows: int
    epochs: list[list[BranchQuality]]

    @classmethod
    def open(cls, path: Path, job: dict[str, Any], num_train_rows: int) -> _Metrics:
        """Return the metrics of `path`, with the epochs that a killed run had finished."""
        from model.training.self_distillation import BranchQuality

        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"epochs": []}
        epochs = [[BranchQuality(**quality) for quality in epoch] for epoch in content["epochs"]]
        return cls(path, job, num_train_rows, epochs)

    def add(self, qualities: EpochQualities) -> None:
        """Add an epoch, in place of an earlier run's that was not saved, and write the file."""
        self.epochs = [*self.epochs[: qualities.epoch - 1], qualities.branches]
        self.write()

    def write(self) -> None:
        """Write the file."""
        content = {
            "config": self.job,
            "num_train_rows": self.num_train_rows,
            "epochs": [[asdict(quality) for quality in epoch] for epoch in self.epochs],
        }
        self.path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
