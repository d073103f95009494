"""What a fine-tuning starts from: rows, an encoder with a fresh head, and what it runs on."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jobs.configs.finetune import FinetuneConfig
from model.answers.task import Task
from model.checkpoints.loading import load_for_finetuning, load_tokenizer
from model.engine.execution import Device, Execution, Precision, execution_here
from model.errors import InputError
from model.tokens.max_length import choose_max_length, position_limit
from model.training.labelled_texts import LabelledTexts
from pipeline.reading.inputs import Columns
from pipeline.reading.labelled_texts import read_labelled_texts
from pipeline.reading.remote_checkpoints import find_checkpoint
from pipeline.sampling.eval_split import default_eval_fraction, split_evaluation
from pipeline.sampling.training_hashes import read_teacher_texts


@dataclass(frozen=True, kw_only=True)
class FinetuneMaterial:
    """What a classifier is made from.

    Attributes:
        rows: to train on.
        eval_rows: to judge by; None for none.
        labels: names in the order of the logits.
        directory: of the encoder's checkpoint.
        model: the encoder, with a head for them.
        tokenizer: its own.
        execution: what it is trained on.
        learnt_before: hashes of texts that the encoder remembers to be fine-tuned on.
    """

    rows: LabelledTexts
    eval_rows: LabelledTexts | None
    labels: tuple[str, ...]
    directory: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    execution: Execution
    learnt_before: frozenset[bytes]


def prepare_finetuning(config: FinetuneConfig) -> FinetuneMaterial:
    """Read the rows, and load the encoder with a head for their labels, and its tokenizer.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    rows = _read(config, config.input)
    labels = _check_labels(config, rows)
    if config.eval_input:
        eval_rows: LabelledTexts | None = _read(config, config.eval_input)
        if unknown := sorted(set(eval_rows.names if eval_rows else ()).difference(labels)):
            raise InputError(f"`eval_input` has labels that `input` has not: {', '.join(unknown[:5])}")
    else:
        fraction = config.eval_fraction
        rows, eval_rows = split_evaluation(
            rows, default_eval_fraction(len(rows)) if fraction is None else fraction
        )
    directory = find_checkpoint(config.model)
    tokenizer = load_tokenizer(directory)
    task = Task.named(config.task)
    names = (config.label_column,) if task is Task.SCORE else labels
    model = load_for_finetuning(directory, names, seed=config.seed, problem_type=task.value)
    choose_max_length(config.max_length, position_limit(model, tokenizer))
    return FinetuneMaterial(
        rows=rows,
        eval_rows=eval_rows,
        labels=names,
        directory=directory,
        model=model,
        tokenizer=tokenizer,
        execution=execution_here(Precision(config.precision), Device(config.device)),
        # Read before the work: it may be damaged.
        learnt_before=read_teacher_texts(directory) or frozenset(),
    )


def _read(config: FinetuneConfig, patterns: tuple[str, ...]) -> LabelledTexts:
    columns = Columns(text=config.text_column, text_pair=config.text_pair_column, keep=(config.label_column,))
    return read_labelled_texts(
        patterns,
        columns,
        label_column=config.label_column,
        format=config.format,
        task=Task.named(config.task),
        separator=config.label_separator,
    )


def _check_labels(config: FinetuneConfig, rows: LabelledTexts) -> tuple[str, ...]:
    """Return the labels that occur, none of a regression; refuse rows that teach nothing."""
    if Task.named(config.task) is Task.SCORE:
        if len(set(rows.labels)) < 2:
            raise InputError(
                f"column {config.label_column!r} holds one number only, {rows.labels[0]!r}; there is nothing "
                "to learn"
            )
        return ()
    labels = rows.names
    if len(labels) < 2:
        found = f"one label only, {labels[0]!r}" if labels else "no label"
        raise InputError(f"column {config.label_column!r} holds {found}; a classifier needs two")
    return labels
