"""The true labels of scored rows, joined on the id or on source and row."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pyarrow as pa

from model.errors import InputError
from model.training.labelled_texts import NO_LABEL
from pipeline.contract import schema
from pipeline.contract.columns import check_label_name
from pipeline.reading.inputs import Columns, inspect_inputs
from pipeline.reading.labelled_texts import ROWS_PER_ITEM, as_text, read_rows
from pipeline.results.exit_stats_builder import TrueLabels
from pipeline.results.read_answers import LabelIds


def read_true_labels(
    patterns: Sequence[str],
    *,
    label_column: str,
    id_column: str | None,
    labels: Sequence[str],
    format: str | None = None,
) -> TrueLabels:
    """Read labels into memory, and return what finds those of a batch of scored rows.

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
    for source, rows, _ in read_rows(inputs):
        keys = _keys(rows[schema.ID]) if id_column else rows[schema.ROW].to_pylist()
        names = as_text(rows[label_column]).to_pylist()
        for key, name in zip(keys, names, strict=True):
            if key is None or name is None:
                continue
            known_name = label_by_key.setdefault(key if id_column else (source, key), name)
            if known_name != name:
                raise InputError(
                    f"{source}: id {key!r} has the labels {known_name!r} and {name!r}; give it one of them"
                )
    ids = ids_by_name(set(label_by_key.values()), labels)

    def lookup(batch: pa.RecordBatch) -> LabelIds:
        keys: Sequence[Hashable]
        if id_column is None:
            keys = list(zip(batch[schema.SOURCE].to_pylist(), batch[schema.ROW].to_pylist(), strict=True))
        else:
            keys = _keys(batch[schema.ID])
        return np.array(
            [ids[label_by_key[key]] if key in label_by_key else NO_LABEL for key in keys], dtype=np.int64
        )

    return lookup


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
    if all(name.isdecimal() and int(name) < len(labels) for name in names):
        return {name: int(name) for name in names}
    unknown_labels = sorted(names - label_to_id.keys())[:5]
    raise InputError(
        f"labels {', '.join(map(repr, unknown_labels))} are none of the model's: {', '.join(labels[:8])}"
        f"{', ...' if len(labels) > 8 else ''} (or 0 to {len(labels) - 1})"
    )
