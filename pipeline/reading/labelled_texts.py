"""Rows with a label: what `finetune` learns from and `audit` compares with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from model.answers.task import Task
from model.errors import InputError
from model.training.labelled_texts import Label, LabelledTexts
from pipeline.contract import schema
from pipeline.contract.columns import check_label_name
from pipeline.reading.inputs import Columns, Inputs, RejectReason, RowBatch, inspect_inputs, read_item
from pipeline.reading.label_values import as_label_sets, as_numbers

_BATCH_ROWS = 1 << 16
_BATCH_BYTES = 32 << 20
# Rows per item of the plan; nothing is written here, so it only bounds how much is skipped when one is read.
ROWS_PER_ITEM = 1 << 20


def read_labelled_texts(
    patterns: Sequence[str],
    columns: Columns,
    *,
    label_column: str,
    format: str | None = None,
    task: Task = Task.ONE_LABEL,
    separator: str = ",",
) -> LabelledTexts:
    """Read labelled texts into memory.

    Args:
        patterns: paths, globs or directories.
        columns: the text columns; `keep` names the label column alone.
        label_column: of any type that reads as text; of several labels at once lists, or text with
            `separator` between labels; of a regression numbers, or text that reads as such.
        format: of the input; None to go by the extensions.
        task: what the labels are for.
        separator: between several labels.

    Raises:
        ParameterError: if the label column has a name that is taken.
        InputError: if nothing matches, a column is missing, no row has both text and label, or a label is not
            of the task.
    """
    check_label_name(label_column)
    inputs = inspect_inputs(patterns, columns, rows_per_shard=ROWS_PER_ITEM, format=format)
    texts: list[str] = []
    text_pairs: list[str] = []
    labels: list[Label] = []
    num_rejected = 0
    for path, batch in _read_batches(inputs):
        if task is not Task.ONE_LABEL:
            _check_readable(batch, path, label_column)
        rows = batch.accepted
        row_labels = _labels_of(rows, path, label_column, task, separator)
        is_labelled = pa.array([label is not None for label in row_labels], pa.bool_())
        num_rejected += len(batch.rejected) + row_labels.count(None)
        labels.extend(label for label in row_labels if label is not None)
        rows = rows.filter(is_labelled)
        texts.extend(rows[schema.INPUT_TEXT].to_pylist())
        if columns.text_pair is not None:
            text_pairs.extend(rows[schema.INPUT_TEXT_PAIR].to_pylist())
    if not texts:
        raise InputError(f"no row of {', '.join(patterns)} has both a text and a {label_column!r}")
    return LabelledTexts(
        texts=texts,
        text_pairs=None if columns.text_pair is None else text_pairs,
        labels=labels,
        num_rejected=num_rejected,
    )


def _labels_of(
    rows: pa.Table, path: str, label_column: str, task: Task, separator: str
) -> Sequence[Label | None]:
    """Return the label of each row, None where it has none."""
    values, numbers = rows[label_column], rows[schema.ROW]
    if task is Task.SCORE:
        return as_numbers(values, rows=numbers, path=path, name=label_column)
    if task is Task.LABEL_SET:
        return as_label_sets(values, separator=separator, rows=numbers, path=path, name=label_column)
    labels: list[str | None] = as_text(values).to_pylist()
    return labels


def _check_readable(batch: RowBatch, path: str, label_column: str) -> None:
    """Refuse rows that a reader left out since their label is of another type than that of the rows before.

    Raises:
        InputError: naming the first such row.
    """
    for row in batch.rejected.to_pylist():
        if row[schema.REASON] == RejectReason.WRONG_TYPE:
            value = (row[schema.RAW_VALUE] or b"").decode("utf-8", "replace")
            raise InputError(
                f"{path}: row {row[schema.ROW]}: column {label_column!r} holds {value}, which is of another "
                "type than the labels before"
            )


def read_rows(inputs: Inputs) -> Iterator[tuple[str, pa.Table, int]]:
    """Stream all accepted rows of some files: path, rows, and how many were rejected beside them."""
    for path, batch in _read_batches(inputs):
        yield path, batch.accepted, len(batch.rejected)


def _read_batches(inputs: Inputs) -> Iterator[tuple[str, RowBatch]]:
    for item in inputs.plan().items:
        batches = read_item(
            item,
            inputs.options,
            max_rows=_BATCH_ROWS,
            max_bytes=_BATCH_BYTES,
        )
        for batch in batches:
            yield item.path, batch


def as_text(labels: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a label column of any plain type as strings; empty ones become null.

    Raises:
        InputError: if the type is not plain, or the bytes are not UTF-8.
    """
    try:
        texts = labels.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise InputError(f"labels of type {labels.type} do not read as text; name another column") from error
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
