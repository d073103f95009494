"""What a column of labels says: a number, or the labels that hold, for each row."""

from __future__ import annotations

import math

import pyarrow as pa

from model.errors import InputError
from pipeline.reading.row_validation import is_string


def as_numbers(values: pa.ChunkedArray, *, rows: pa.ChunkedArray, path: str, name: str) -> list[float | None]:
    """Return the numbers that a column holds, as such or as text; None for null and for an empty text.

    Args:
        values: of the column.
        rows: their numbers in the file.
        path: of the file.
        name: of the column.

    Raises:
        InputError: naming the first row whose value is no finite number, or the type that holds none.
    """
    kind = values.type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (is_number or _is_text(kind) or pa.types.is_null(kind)):
        raise InputError(f"{path}: column {name!r} holds {kind}, no numbers; name another `label_column`")
    numbers: list[float | None] = []
    for row, value in zip(rows.to_pylist(), values.to_pylist(), strict=True):
        if value is None or (isinstance(value, str) and not value.strip()):
            numbers.append(None)
            continue
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(
                f"{path}: row {row}: column {name!r} holds {value!r}, which is no finite number; mend it, or "
                "leave it empty and the row out"
            )
        numbers.append(number)
    return numbers


def as_label_sets(
    values: pa.ChunkedArray, *, separator: str, rows: pa.ChunkedArray, path: str, name: str
) -> list[tuple[str, ...] | None]:
    """Return the labels that hold of each row, each once, as they stand there; None for null.

    Args:
        values: of the column: lists of anything plain, or text in which `separator` stands between labels.
            An empty list, as an empty text, says that none of the labels holds.
        separator: see there; spaces around labels are no part of them.
        rows: their numbers in the file.
        path: of the file.
        name: of the column.

    Raises:
        InputError: naming the first row with a label that is null or empty, or the type that holds no labels.
    """
    kind = values.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not (is_list or _is_text(kind) or pa.types.is_null(kind)):
        raise InputError(
            f"{path}: column {name!r} holds {kind}, neither lists nor text; name another `label_column`"
        )
    sets: list[tuple[str, ...] | None] = []
    for row, value in zip(rows.to_pylist(), values.to_pylist(), strict=True):
        if value is None:
            sets.append(None)
            continue
        if isinstance(value, str):
            parts = [part.strip() for part in value.split(separator)] if value.strip() else []
        else:
            parts = ["" if part is None else str(part) for part in value]
        if "" in parts:
            raise InputError(f"{path}: row {row}: column {name!r} holds an empty label: {value!r}; name it")
        sets.append(tuple(dict.fromkeys(parts)))
    return sets


def _is_text(kind: pa.DataType) -> bool:
    return is_string(kind.value_type if pa.types.is_dictionary(kind) else kind)
