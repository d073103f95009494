"""The true labels of scored rows, joined on the id or on source and row."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from model.errors import InputError
from model.messages import format_labels, shortened
from model.training.labelled_texts import NO_LABEL
from pipeline.contract import schema
from pipeline.contract.columns import check_label_name
from pipeline.reading.inputs import Columns, inspect_inputs
from pipeline.reading.labelled_texts import ROWS_PER_ITEM, as_text, read_rows
from pipeline.results.collected_stats import TrueLabels
from pipeline.results.read_answers import LabelIds

# Of a label that is none: a column of texts may have been named for one of labels.
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, kw_only=True)
class GroundTruth:
    """Labels that were read.

    Attributes:
        of_rows: gives the label id of each row of a batch of scored rows, `NO_LABEL` where none is known.
        num_left_out: rows that have no id or no label, or were rejected.
    """

    of_rows: TrueLabels
    num_left_out: int


def read_true_labels(
    patterns: Sequence[str],
    *,
    label_column: str,
    id_column: str | None,
    labels: Sequence[str],
    format: str | None = None,
) -> GroundTruth:
    """Read labels into memory.

    Args:
        patterns: paths, globs or directories; without an id these are the files that were scored.
        label_column: holds label names, or whole numbers that count the labels from 0.
        id_column: joins on the shards' `id`; None joins on source and row.
        labels: label names of the model.
        format: of the input; None to go by the extensions.

    Raises:
        ParameterError: if the label column has a name that is taken.
        InputError: if a label is none of the model's, or an id has two labels.
    """
    check_label_name(label_column, id_column)
    columns = Columns(id=id_column, keep=(label_column,))
    inputs = inspect_inputs(patterns, columns, rows_per_shard=ROWS_PER_ITEM, format=format)
    label_by_key: dict[Hashable, str] = {}
    num_left_out = 0
    for source, rows, num_rejected in read_rows(inputs):
        num_left_out += num_rejected
        keys = _keys(rows[schema.ID]) if id_column else rows[schema.ROW].to_pylist()
        names = as_text(rows[label_column]).to_pylist()
        for key, name in zip(keys, names, strict=True):
            if key is None or name is None:
                num_left_out += 1
                continue
            known_name = label_by_key.setdefault(key if id_column else (source, key), name)
            if known_name != name:
                raise InputError(
                    f"{source}: id {key!r} has the labels {known_name!r} and {name!r}; give it one of them"
                )
    ids = ids_by_name(set(label_by_key.values()), labels)

    def of_rows(batch: pa.RecordBatch) -> LabelIds:
        keys: Sequence[Hashable]
        if id_column is None:
            keys = list(zip(batch[schema.SOURCE].to_pylist(), batch[schema.ROW].to_pylist(), strict=True))
        else:
            keys = _keys(batch[schema.ID])
        return np.array(
            [ids[label_by_key[key]] if key in label_by_key else NO_LABEL for key in keys], dtype=np.int64
        )

    return GroundTruth(of_rows=of_rows, num_left_out=num_left_out)


def _keys(ids: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """Return ids as text: a number in Parquet and its digits in a CSV are the same id."""
    return [None if value is None else str(value) for value in ids.to_pylist()]


def ids_by_name(names: set[str], labels: Sequence[str]) -> dict[str, int]:
    """Return the label id of each name that occurs among true labels.

    Args:
        names: label names, or whole numbers that count the labels from 0.
        labels: label names of the model.

    Raises:
        InputError: naming labels that are none of the model's.
    """
    label_to_id = {label: place for place, label in enumerate(labels)}
    if names <= label_to_id.keys():
        return {name: label_to_id[name] for name in names}
    # Of digits without end Python makes no number.
    digits = {name: name.lstrip("0") or "0" for name in names if name.isdecimal()}
    longest = len(str(len(labels)))
    numbers = {name: int(written) for name, written in digits.items() if len(written) <= longest}
    if len(numbers) == len(names) and max(numbers.values()) < len(labels):
        return numbers
    unknown_labels = sorted(names - label_to_id.keys())[:5]
    told = ", ".join(repr(shortened(name, _SHOWN_CHARACTERS)) for name in unknown_labels)
    raise InputError(
        f"labels {told} are none of the model's: {format_labels(tuple(labels))} (or 0 to {len(labels) - 1})"
    )
