"""Rows with a label: what `finetune` learns from and `audit` compares with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from model.errors import InputError
from model.training.labelled_texts import LabelledTexts
from pipeline.contract import schema
from pipeline.contract.columns import check_label_name
from pipeline.reading.inputs import Columns, Inputs, inspect_inputs, read_item

_BATCH_ROWS = 1 << 16
_BATCH_BYTES = 32 << 20
# Rows per item of the plan; nothing is written here, so it only bounds how much is skipped when one is read.
ROWS_PER_ITEM = 1 << 20


def read_labelled_texts(
    patterns: Sequence[str], columns: Columns, *, label_column: str, format: str | None = None
) -> LabelledTexts:
    """Read labelled texts into memory.

    Args:
        patterns: paths, globs or directories.
        columns: the text columns; `keep` names the label column alone.
        label_column: of any type that reads as text.
        format: of the input; None to go by the extensions.

    Raises:
        ParameterError: if the label column has a name that is taken.
        InputError: if nothing matches, a column is missing, or no row has both text and label.
    """
    check_label_name(label_column)
    inputs = inspect_inputs(patterns, columns, rows_per_shard=ROWS_PER_ITEM, format=format)
    texts: list[str] = []
    text_pairs: list[str] = []
    labels: list[str] = []
    num_rejected = 0
    for _, rows, rejected in read_rows(inputs):
        row_labels = as_text(rows[label_column])
        rows = rows.filter(row_labels.is_valid())
        num_rejected += rejected + row_labels.null_count
        texts.extend(rows[schema.INPUT_TEXT].to_pylist())
        if columns.text_pair is not None:
            text_pairs.extend(rows[schema.INPUT_TEXT_PAIR].to_pylist())
        labels.extend(row_labels.drop_null().to_pylist())
    if not texts:
        raise InputError(f"no row of {', '.join(patterns)} has both a text and a {label_column!r}")
    return LabelledTexts(
        texts=texts,
        text_pairs=None if columns.text_pair is None else text_pairs,
        labels=labels,
        num_rejected=num_rejected,
    )


def read_rows(inputs: Inputs) -> Iterator[tuple[str, pa.Table, int]]:
    """Stream all accepted rows of some files: path, rows, and how many were rejected beside them."""
    for item in inputs.plan().items:
        batches = read_item(
            item,
            inputs.options,
            max_rows=_BATCH_ROWS,
            max_bytes=_BATCH_BYTES,
        )
        for batch in batches:
            yield item.path, batch.accepted, len(batch.rejected)


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
