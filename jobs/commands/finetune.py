"""`fastbert-jobs finetune`: labelled rows to a Hugging Face classifier, for those who have none yet."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from jobs.driver.atomic_directory import METRICS_FILE, AtomicOutputDirectory
from jobs.terminal.console import print_next_step, print_settings, stdout_console, training_progress
from jobs.terminal.options import FormatName

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from model.engine.execution import Execution
    from model.training.classifier import FinetuningEpoch, FinetuningResult
    from model.training.labelled_texts import LabelledTexts
    from model.training.loop import TrainingConfig


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
    from model.training.labelled_texts import sorted_labels

    training = config.training()
    working = AtomicOutputDirectory(config.output, overwrite=config.overwrite, sources=(config.model,))
    rows = _read(config, config.input)
    eval_rows = _read(config, config.eval_input) if config.eval_input else None
    labels = sorted_labels(rows.labels)
    _check_labels(config, labels, eval_rows)
    model, tokenizer = _load(config, labels)
    execution = resolve_execution()
    _show(config, model, rows, execution)
    working.start()
    result = _train(config, training, model, tokenizer, rows, eval_rows, execution)
    _save(config, working, model, tokenizer, rows, result)
    working.finish()
    console = stdout_console()
    console.print(f"wrote {config.output}", markup=False)
    text = f"--text-column {config.text_column}"
    print_next_step(
        console,
        f"fastbert-jobs label-teacher --input CORPUS {text} --teacher {config.output} --output labels",
    )
    return FinetuneSummary(output=config.output, labels=labels, num_rows=len(rows), accuracy=result.accuracy)


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
    from pipeline.reading.labelled_texts import read_labelled_texts

    columns = Columns(text=config.text_column, text_pair=config.text_pair_column, keep=(config.label_column,))
    return read_labelled_texts(patterns, columns, label_column=config.label_column, format=config.format)


def _check_labels(config: FinetuneConfig, labels: tuple[str, ...], eval_rows: LabelledTexts | None) -> None:
    from model.errors import InputError

    if len(labels) < 2:
        raise InputError(
            f"column {config.label_column!r} holds one label only, {labels[0]!r}; a classifier needs two"
        )
    unknown = sorted(set(eval_rows.labels if eval_rows else ()).difference(labels))
    if unknown:
        raise InputError(f"--eval-input has labels that --input has not: {', '.join(unknown[:5])}")


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


def _train(
    config: FinetuneConfig,
    training: TrainingConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: LabelledTexts,
    eval_rows: LabelledTexts | None,
    execution: Execution,
) -> FinetuningResult:
    """Train the classifier, and print how it does after every epoch."""
    from model.training.classifier import finetune

    def on_epoch(epoch: FinetuningEpoch) -> None:
        line = f"epoch {epoch.epoch} of {config.epochs}: loss {epoch.loss:.4f}"
        if eval_rows is not None:
            line += f", accuracy {epoch.accuracy:.2%} on {len(eval_rows):,} rows"
        stdout_console().print(line)

    with training_progress("finetune") as on_step:
        return finetune(
            model,
            tokenizer,
            rows,
            training,
            max_length=config.max_length,
            evaluation=eval_rows,
            execution=execution,
            on_step=on_step,
            on_epoch=on_epoch,
        )


def _save(
    config: FinetuneConfig,
    working: AtomicOutputDirectory,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: LabelledTexts,
    result: FinetuningResult,
) -> None:
    """Write the classifier, its tokenizer and how it was made."""
    from model.checkpoints.loading import quiet_transformers

    with quiet_transformers():
        model.save_pretrained(working.partial)
    tokenizer.save_pretrained(working.partial)
    epochs = [
        {name: value for name, value in asdict(epoch).items() if value is not None} for epoch in result.epochs
    ]
    content = {
        "config": asdict(config),
        "num_rows": len(rows),
        "num_rejected": rows.num_rejected,
        "epochs": epochs,
        "accuracy": result.accuracy,
    }
    (working.partial / METRICS_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
