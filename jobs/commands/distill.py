"""`fastbert-jobs distill`: soft labels to a FastBERT, branches around a frozen backbone."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jobs.driver.atomic_directory import METRICS_FILE, STATE_FILE, AtomicOutputDirectory
from jobs.driver.compatibility import check_labels_match_model
from jobs.terminal.console import print_next_step, print_settings, progress_bar, stdout_console, table
from jobs.terminal.options import KlDirectionName, PrecisionName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from model.engine.execution import Execution
    from model.exits.exit_logits import LayerStates
    from model.fastbert import FastBertForSequenceClassification
    from model.training.loop import StepReport, TrainingConfig
    from model.training.self_distillation import BranchQuality
    from model.training.soft_labelled_texts import SoftLabelledTexts
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
        num_train_rows: rows an epoch.
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
    from pipeline.results.soft_labels import SoftLabels

    training = config.training()
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
    distillation = _Distillation(config, training, model, labels, working, execution)
    _show(config, model, labels, distillation.engine.execution)
    distillation.train()
    distillation.save()
    working.finish()
    console = stdout_console()
    console.print(f"{labels.num_train_rows:,} rows, {config.epochs} epochs; wrote {config.output}")
    print_next_step(
        console,
        f"fastbert-jobs calibrate --model {config.output} --labels {config.labels}",
    )
    return DistillSummary(
        output=config.output, num_train_rows=labels.num_train_rows, epochs=distillation.epochs
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


class _Distillation:
    """The training of one FastBERT's branches."""

    def __init__(
        self,
        config: DistillConfig,
        training: TrainingConfig,
        model: FastBertForSequenceClassification,
        labels: SoftLabels,
        working: AtomicOutputDirectory,
        execution: Execution,
    ) -> None:
        from model.engine.engine import Engine

        self._config, self._training, self._model, self._labels = config, training, model, labels
        self._working = working
        model.branches.to(execution.device)
        # It works on a copy: the model's own weights are saved as they came.
        self.engine = Engine.for_classifier(
            model.backbone, execution, pad_token_id=model.tokenizer.pad_token_id
        )
        self._job = self._describe()
        self._state = self._resumable_state()
        # Of the epochs that a killed run had finished, too.
        self.epochs: list[list[BranchQuality]] = self._read_metrics()

    def train(self) -> None:
        """Train all branches in one pass over the frozen backbone."""
        from model.training.loop import train

        self._model.requires_grad_(False)
        self._model.branches.requires_grad_(True)
        held_out = self._labels.held_out()
        with progress_bar(rate="loss") as progress:
            bar = progress.add_task("distill", total=None, loss="")

            def on_step(report: StepReport) -> None:
                progress.update(
                    bar, total=report.total_steps, completed=report.step, loss=f"loss {report.loss:.3f}"
                )

            def on_epoch(epoch: int) -> None:
                if held_out is not None:
                    self._evaluate(epoch, held_out)

            train(
                self._model.branches,
                self._training,
                batches=self._batches,
                steps_per_epoch=self._labels.steps_per_epoch(self._training.batch_size),
                gradients=self._backward,
                on_step=on_step,
                on_epoch=on_epoch,
                state=self._state,
                drive=self.engine.run_on_driver_thread,
            )

    def _describe(self) -> dict[str, Any]:
        """Return all that the weights depend on."""
        from model.checkpoints.fingerprint import checkpoint_hash
        from model.checkpoints.hub import resolve_checkpoint

        training = {
            name: value
            for name, value in asdict(self._config).items()
            if name not in ("labels", "backbone", "output", "resume", "overwrite")
        }
        execution = self.engine.execution
        training |= {"precision": str(execution.precision), "backend": str(execution.backend)}
        return {
            "labels": self._labels.manifest.fingerprint,
            "backbone": checkpoint_hash(resolve_checkpoint(self._config.backbone)),
            **training,
        }

    def _resumable_state(self) -> Any:
        """Return where to save and resume.

        Raises:
            OutputError: if the killed run had another configuration.
        """
        from model.errors import OutputError
        from model.training.loop import TrainingState
        from pipeline.contract.manifest import differences

        state = TrainingState(path=self._working.partial / STATE_FILE, job=json.dumps(self._job))
        saved = state.saved_job()
        if saved is not None and saved != state.job:
            raise OutputError(
                f"{str(self._working.partial)!r} is another run's, which differs in "
                f"{differences(self._job, json.loads(saved))}; give the same options, or --overwrite it"
            )
        return state

    def _batches(self, epoch: int) -> Iterator[tuple[SoftLabelledTexts, slice, Callable[[], LayerStates]]]:
        """Yield each batch of an epoch, and where its states stand among those that were computed with it."""
        from functools import cache, partial

        from model.training.soft_labelled_texts import token_windows

        batches = self._labels.batches(epoch, batch_size=self._training.batch_size, seed=self._training.seed)
        # The backbone is frozen, so the states of many batches can be computed at once.
        for window in token_windows(batches, self.engine.chunk_tokens // (self.engine.num_layers - 1)):
            # Not before they are asked for: a resumed run skips what was done.
            states = cache(partial(self._states, window))
            first = 0
            for batch in window:
                yield batch, slice(first, first + len(batch)), states
                first += len(batch)

    def _states(self, window: list[SoftLabelledTexts]) -> LayerStates:
        from model.exits.exit_logits import LayerStates
        from model.training.soft_labelled_texts import concatenate

        return LayerStates(self.engine, self._tokenize(concatenate(window)))

    def _backward(self, batch: tuple[SoftLabelledTexts, slice, Callable[[], LayerStates]]) -> float:
        import torch

        from model.training.self_distillation import KlDirection, branch_gradients

        texts, rows, states = batch
        losses = branch_gradients(
            self._model.branches,
            self.engine,
            states(),
            rows,
            torch.from_numpy(texts.logits).to(self.engine.device),
            direction=KlDirection(self._config.kl_direction),
            hard_label_weight=self._config.hard_label_weight,
        )
        return float(losses.sum())

    def _tokenize(self, batch: SoftLabelledTexts) -> Any:
        from model.tokens.tokenization import tokenize

        return tokenize(
            self._model.tokenizer,
            batch.texts,
            batch.text_pairs,
            max_length=self._model.config.max_length,
        )

    def _evaluate(self, epoch: int, held_out: SoftLabelledTexts) -> None:
        """Report every branch's KL and agreement with the teacher on the held-out texts."""
        from model.training.self_distillation import branch_qualities

        engine = self.engine.with_branches(self._model.branches)
        qualities = branch_qualities(engine, self._tokenize(held_out), held_out.logits)
        self.epochs = [*self.epochs[: epoch - 1], qualities]
        self.write_metrics()
        rows = [(f"{q.layer}", f"{q.kl:.4f}", f"{q.agreement:.2%}") for q in qualities]
        title = f"epoch {epoch} of {self._config.epochs}, {len(held_out):,} held-out rows"
        stdout_console().print(table(title, ("branch after layer", "KL to teacher", "agreement"), rows))

    def _read_metrics(self) -> list[list[BranchQuality]]:
        from model.training.self_distillation import BranchQuality

        path = self._working.partial / METRICS_FILE
        if not path.is_file():
            return []
        epochs = json.loads(path.read_text(encoding="utf-8"))["epochs"]
        return [[BranchQuality(**quality) for quality in epoch] for epoch in epochs]

    def save(self) -> None:
        """Write the FastBERT, its metrics, and what it was trained on."""
        from pipeline.sampling.training_hashes import write_training_hashes

        self._model.cpu().save_pretrained(self._working.partial)
        write_training_hashes(self._working.partial, self._labels.train_hashes())
        self.write_metrics()

    def write_metrics(self) -> None:
        """Write what was asked for and how every branch did, epoch by epoch."""
        content = {
            "config": self._job,
            "num_train_rows": self._labels.num_train_rows,
            "epochs": [[asdict(quality) for quality in epoch] for epoch in self.epochs],
        }
        path = self._working.partial / METRICS_FILE
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
