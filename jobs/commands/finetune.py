"""`fastbert-jobs finetune`: labelled rows to a Hugging Face classifier, for those who have none yet."""

from dataclasses import dataclass, replace

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jobs.configs.finetune import FinetuneConfig
from jobs.driver.atomic_directory import AtomicOutputDirectory
from jobs.driver.uploaded_directory import output_directory
from jobs.terminal.console import print_next_step, print_settings, stdout_console, training_progress
from model.checkpoints.hub import METRICS_FILE
from model.checkpoints.loading import load_for_finetuning, load_tokenizer, silence_transformers
from model.engine.execution import Device, Execution, execution_here
from model.errors import InputError
from model.tokens.max_length import choose_max_length, position_limit
from model.training.classifier import FinetuningEpoch, FinetuningResult, finetune
from model.training.labelled_texts import LabelledTexts, sorted_labels
from model.training.loop import TrainingConfig
from pipeline.contract.typed_json import write_typed
from pipeline.reading.inputs import Columns
from pipeline.reading.labelled_texts import read_labelled_texts
from pipeline.reading.remote_checkpoints import find_checkpoint
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.training_hashes import read_teacher_texts, write_teacher_texts


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


@dataclass(frozen=True, kw_only=True)
class FinetuneMetrics:
    """What was asked for and how the classifier did, epoch by epoch; `metrics.json` holds it.

    Attributes:
        config: what was asked for, but where it is written.
        num_rows: rows trained on.
        num_rejected: rows left out, for want of a text or a label.
        epochs: loss and accuracy after each epoch.
        accuracy: on the eval rows, of the epoch that was kept; None without them.
    """

    config: FinetuneConfig
    num_rows: int
    num_rejected: int
    epochs: tuple[FinetuningEpoch, ...]
    accuracy: float | None


def run(config: FinetuneConfig) -> FinetuneSummary:
    """Fine-tune a classifier.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    training = TrainingConfig(
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        seed=config.seed,
        weight_decay=config.weight_decay,
        warmup=config.warmup,
    )
    working = output_directory(config.output, overwrite=config.overwrite, sources=(config.model,))
    rows = _read(config, config.input)
    eval_rows = _read(config, config.eval_input) if config.eval_input else None
    labels = sorted_labels(rows.labels)
    _check_labels(config, labels, eval_rows)
    model, tokenizer = _load(config, labels)
    # What the encoder was fine-tuned on before, it remembers too. Read before the work: it may be damaged.
    learnt_before = read_teacher_texts(find_checkpoint(config.model)) or frozenset()
    execution = execution_here(device=Device(config.device))
    _show(config, model, rows, execution)
    with working.open():
        result = _train(config, training, model, tokenizer, rows, eval_rows, execution)
        _save(config, working, model, tokenizer, rows, learnt_before, result)
        working.finish()
    console = stdout_console()
    console.print(f"wrote {config.output}")
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
    columns = Columns(text=config.text_column, text_pair=config.text_pair_column, keep=(config.label_column,))
    return read_labelled_texts(patterns, columns, label_column=config.label_column, format=config.format)


def _check_labels(config: FinetuneConfig, labels: tuple[str, ...], eval_rows: LabelledTexts | None) -> None:
    if len(labels) < 2:
        raise InputError(
            f"column {config.label_column!r} holds one label only, {labels[0]!r}; a classifier needs two"
        )
    unknown = sorted(set(eval_rows.labels if eval_rows else ()).difference(labels))
    if unknown:
        raise InputError(f"`eval_input` has labels that `input` has not: {', '.join(unknown[:5])}")


def _load(config: FinetuneConfig, labels: tuple[str, ...]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the encoder with a head for `labels`, and its tokenizer."""
    directory = find_checkpoint(config.model)
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
    learnt_before: frozenset[bytes],
    result: FinetuningResult,
) -> None:
    """Write the classifier, its tokenizer and how it was made."""
    with silence_transformers():
        model.save_pretrained(working.partial)
    tokenizer.save_pretrained(working.partial)
    write_teacher_texts(working.partial, [*learnt_before, *text_hashes(rows.texts, rows.text_pairs)])
    metrics = FinetuneMetrics(
        # The same training leaves the same bytes wherever they are written to.
        config=replace(config, output="", overwrite=False),
        num_rows=len(rows),
        num_rejected=rows.num_rejected,
        epochs=tuple(result.epochs),
        accuracy=result.accuracy,
    )
    write_typed(str(working.partial / METRICS_FILE), metrics)
