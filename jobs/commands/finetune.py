"""`fastbert-jobs finetune`: labelled rows to a Hugging Face classifier, for those who have none yet."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jobs.driver.atomic_directory import METRICS_FILE, AtomicOutputDirectory
from jobs.terminal.console import print_next_step, print_settings, progress_bar, stdout_console
from jobs.terminal.options import FormatName

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from model.engine.execution import Execution
    from model.training.loop import StepReport, TrainingConfig
    from pipeline.reading.labeled_texts import LabelledTexts


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """What `finetune` is asked to do; the defaults are the paper's (Liu et al. 2020, section 4.3).

    Attributes:
        input: labelled rows: paths, globs or directories.
        text_column: column to classify.
        text_pair_column: second text of a pair.
        label_column: column of the labels, of any type that reads as text.
        model: directory or hub name of a pretrained encoder.
        output: directory of the classifier.
        eval_input: labelled rows that are only judged by; the best epoch is then kept.
        epochs: passes over the rows.
        learning_rate: highest learning rate.
        batch_size: texts a step (not in the paper; the authors' code uses 32).
        max_length: tokens that a text is cut to.
        weight_decay: of matrices.
        warmup: share of the steps.
        seed: of the classifier's first weights, the order and dropout.
        format: of the input; None to go by the extensions.
        overwrite: whether to delete what an earlier run left.
    """

    input: tuple[str, ...]
    text_column: str
    label_column: str
    model: str
    output: str
    text_pair_column: str | None = None
    eval_input: tuple[str, ...] = ()
    epochs: int = 3
    learning_rate: float = 2e-5
    batch_size: int = 32
    max_length: int = 128
    weight_decay: float = 0.01
    warmup: float = 0.1
    seed: int = 0
    format: FormatName | None = None
    overwrite: bool = False

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
            weight_decay=self.weight_decay,
            warmup=self.warmup,
        )


@dataclass(frozen=True, kw_only=True)
class FinetuneSummary:
    """What `finetune` made.

    Attributes:
        output: the classifier's directory.
        labels: label names in the order of the logits.
        num_rows: rows trained on.
        accuracy: on the eval rows, of the epoch that was kept; None without them.
    """

    output: str
    labels: tuple[str, ...]
    num_rows: int
    accuracy: float | None


def run(config: FinetuneConfig) -> FinetuneSummary:
    """Fine-tune a classifier.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    from model.engine.execution import resolve_execution
    from pipeline.reading.labeled_texts import sorted_labels

    training = config.training()
    working = AtomicOutputDirectory(config.output, overwrite=config.overwrite, sources=(config.model,))
    rows = _read(config, config.input)
    eval_rows = _read(config, config.eval_input) if config.eval_input else None
    labels = sorted_labels(rows.labels)
    _check_labels(config, labels, eval_rows)
    model, tokenizer = _load(config, labels)
    execution = resolve_execution()
    model.to(execution.device)
    _show(config, model, rows, execution)
    working.start()
    finetuning = _Finetuning(config, model, tokenizer, labels, execution)
    finetuning.train(rows, eval_rows, training)
    _save(config, working, rows, finetuning)
    console = stdout_console()
    console.print(f"wrote {config.output}", markup=False)
    text = f"--text-column {config.text_column}"
    print_next_step(
        console,
        f"fastbert-jobs label-teacher --input CORPUS {text} --teacher {config.output} --output labels",
    )
    return FinetuneSummary(
        output=config.output, labels=labels, num_rows=len(rows), accuracy=finetuning.best_accuracy
    )


def _show(config: FinetuneConfig, model: PreTrainedModel, rows: LabelledTexts, execution: Execution) -> None:
    """Print what was decided."""
    print_settings(
        stdout_console(),
        {
            "model": f"{config.model}, {model.config.model_type}, {model.config.num_labels} labels",
            "input": f"{len(rows):,} rows, {rows.num_rejected:,} without text or label left out",
            "training": f"{config.epochs} epochs, batches of {config.batch_size}, "
            f"learning rate {config.learning_rate:g}",
            "runs on": execution.device,
        },
    )


def _read(config: FinetuneConfig, patterns: tuple[str, ...]) -> LabelledTexts:
    from pipeline.reading.inputs import Columns
    from pipeline.reading.labeled_texts import read_labelled_texts

    columns = Columns(text=config.text_column, text_pair=config.text_pair_column, keep=(config.label_column,))
    return read_labelled_texts(patterns, columns, label_column=config.label_column, format=config.format)


def _check_labels(config: FinetuneConfig, labels: tuple[str, ...], eval_rows: LabelledTexts | None) -> None:
    from model.errors import InputError

    if len(labels) < 2:
        raise InputError(
            f"column {config.label_column!r} holds one label only, {labels[0]!r}; a classifier needs two"
        )
    strange = sorted(set(eval_rows.labels if eval_rows else ()).difference(labels))
    if strange:
        raise InputError(f"--eval-input has labels that --input has not: {', '.join(strange[:5])}")


def _load(config: FinetuneConfig, labels: tuple[str, ...]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the encoder with a head for `labels`, and its tokenizer."""
    from model.checkpoints.hub import resolve_checkpoint
    from model.checkpoints.loading import load_for_finetuning, load_tokenizer
    from model.tokens.tokenization import choose_max_length, position_limit

    directory = resolve_checkpoint(config.model)
    tokenizer = load_tokenizer(directory)
    model = load_for_finetuning(directory, labels, seed=config.seed)
    choose_max_length(config.max_length, position_limit(model, tokenizer))
    return model, tokenizer


class _Finetuning:
    """The training of one classifier."""

    def __init__(
        self,
        config: FinetuneConfig,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        labels: tuple[str, ...],
        execution: Execution,
    ) -> None:
        self._config, self._model, self._tokenizer = config, model, tokenizer
        self._places = {label: place for place, label in enumerate(labels)}
        self._execution = execution
        self._best: dict[str, Tensor] | None = None
        self.best_accuracy: float | None = None
        self.epochs: list[dict[str, float]] = []

    def train(self, rows: LabelledTexts, eval_rows: LabelledTexts | None, training: TrainingConfig) -> None:
        """Train all weights; with eval rows the best epoch's are kept."""
        import torch

        from model.training.batching import bucketed_batches, step_seed
        from model.training.loop import train

        texts, places = self._prepare(rows)
        evaluation = self._prepare(eval_rows) if eval_rows else None
        lengths = torch.from_numpy(texts.lengths)

        def batches(epoch: int) -> Iterator[list[int]]:
            generator = torch.Generator().manual_seed(step_seed(training.seed, epoch))
            return bucketed_batches(lengths, training.batch_size, generator=generator)

        with progress_bar(rate="loss") as progress:
            bar = progress.add_task("finetune", total=None, loss="")
            losses: list[float] = []

            def on_step(report: StepReport) -> None:
                losses.append(report.loss)
                progress.update(
                    bar, total=report.total_steps, completed=report.step, loss=f"loss {report.loss:.3f}"
                )

            def on_epoch(epoch: int) -> None:
                self._evaluate(epoch, sum(losses) / len(losses), evaluation)
                losses.clear()
                self._model.train()

            self._model.train()
            train(
                self._model,
                training,
                batches=batches,
                steps_per_epoch=-(-len(rows) // training.batch_size),
                backward=lambda batch: self._backward(texts, places, batch),
                on_step=on_step,
                on_epoch=on_epoch,
            )
        self._model.eval()
        if self._best is not None:
            self._model.load_state_dict(self._best)

    def save(self, directory: Path) -> None:
        """Write the classifier and its tokenizer."""
        from model.checkpoints.loading import quiet_transformers

        with quiet_transformers():
            self._model.cpu().save_pretrained(directory)
        self._tokenizer.save_pretrained(directory)

    def _prepare(self, rows: LabelledTexts) -> tuple[Any, Tensor]:
        import torch

        from model.tokens.tokenization import tokenize

        texts = tokenize(self._tokenizer, rows.texts, rows.text_pairs, max_length=self._config.max_length)
        return texts, torch.tensor([self._places[label] for label in rows.labels])

    def _backward(self, texts: Any, places: Tensor, batch: list[int]) -> float:
        import numpy as np
        from torch.nn import functional

        from model.exits.teacher import padded_inputs

        inputs = padded_inputs(self._tokenizer, texts.take(np.array(batch)), self._model.device)
        logits = self._model(**inputs).logits
        loss = functional.cross_entropy(logits, places[batch].to(logits.device))
        loss.backward()
        return loss.item()

    def _evaluate(self, epoch: int, loss: float, evaluation: tuple[Any, Tensor] | None) -> None:
        """Report an epoch, and remember its weights if they are the best so far."""
        from model.exits.teacher import teacher_logits

        line = f"epoch {epoch} of {self._config.epochs}: loss {loss:.4f}"
        report = {"epoch": epoch, "loss": loss}
        if evaluation is not None:
            texts, places = evaluation
            self._model.eval()
            logits = teacher_logits(
                self._model, self._tokenizer, texts, token_budget=self._execution.token_budget
            )
            accuracy = float((logits.argmax(axis=1) == places.numpy()).mean())
            report["accuracy"] = accuracy
            line += f", accuracy {accuracy:.2%} on {len(places):,} rows"
            if self.best_accuracy is None or accuracy > self.best_accuracy:
                self.best_accuracy = accuracy
                state = self._model.state_dict()
                self._best = {name: value.clone() for name, value in state.items()}
        self.epochs.append(report)
        stdout_console().print(line)


def _save(
    config: FinetuneConfig, working: AtomicOutputDirectory, rows: LabelledTexts, finetuning: _Finetuning
) -> None:
    """Write the classifier and how it was made, and give both their final name."""
    finetuning.save(working.partial)
    content = {
        "config": asdict(config),
        "num_rows": len(rows),
        "num_rejected": rows.num_rejected,
        "epochs": finetuning.epochs,
        "accuracy": finetuning.best_accuracy,
    }
    (working.partial / METRICS_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    working.finish()
