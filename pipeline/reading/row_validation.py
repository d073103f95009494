"""Which rows can be classified, and why the others cannot.

Readers bring a file's rows as Arrow columns; `validate_rows` parts them, whole columns at a time, into those
that are accepted and those that are rejected with a reason. Every row ends up on one side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.contract import schema
from pipeline.contract.arrays import source_column
from pipeline.contract.columns import Columns

MAX_RAW_BYTES = 64 * 1024


class RejectReason(StrEnum):
    """Why a row is rejected."""

    NULL = "null"
    NOT_A_STRING = "not_a_string"
    EMPTY = "empty"  # or nothing but whitespace
    UNDECODABLE = "undecodable"  # not UTF-8
    MALFORMED = "malformed"  # the line cannot be parsed, or has too many or too few fields
    WRONG_TYPE = "wrong_type"  # an id or a kept value that does not fit its column
    NOT_FINITE = "not_finite"  # the model's answer is NaN or infinite


@dataclass(frozen=True)
class RowBatch:
    """Consecutive rows of one file, each on one side.

    Attributes:
        accepted: as `accepted_schema` says.
        rejected: as `schema.rejected_schema` says.
    """

    accepted: pa.Table
    rejected: pa.Table


RowError = tuple[RejectReason, bytes | None]
RowErrors = dict[int, RowError]  # by position in the batch


@dataclass(frozen=True, kw_only=True)
class RawRows:
    """Consecutive rows as they were read.

    Attributes:
        first_row: number of the first one in its file.
        num_rows: how many.
        texts: a binary array for each text column, by its name in the input.
        passthrough: an array for each column that is passed through, by its name in the input.
        row_errors: rows of which nothing could be read.
        value_errors: values that could not be read, by column; the arrays hold null there.
    """

    first_row: int
    num_rows: int
    texts: Mapping[str, pa.Array]
    passthrough: Mapping[str, pa.Array]
    row_errors: RowErrors = field(default_factory=dict)
    value_errors: Mapping[str, RowErrors] = field(default_factory=dict)


def is_string(kind: pa.DataType) -> bool:
    """Return whether a type is one of Arrow's three strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def accepted_schema(
    columns: Columns,
    id_type: pa.DataType | None,
    kept: Sequence[pa.Field],
    group_type: pa.DataType | None = None,
) -> pa.Schema:
    """Return the schema of accepted rows: row, text, the pair and the id if any, kept columns, the group."""
    texts = (schema.INPUT_TEXT, schema.INPUT_TEXT_PAIR)[: len(columns.texts)]
    return pa.schema(
        [
            pa.field(schema.ROW, pa.int64(), nullable=False),
            *(pa.field(name, pa.string(), nullable=False) for name in texts),
            *([] if id_type is None else [pa.field(schema.ID, id_type)]),
            *kept,
            *([] if group_type is None else [pa.field(schema.GROUP, group_type)]),
        ]
    )


def validate_rows(raw: RawRows, *, source: str, columns: Columns, target: pa.Schema) -> RowBatch:
    """Part rows into accepted and rejected ones.

    The first error of a row is its reason: of the whole row, then of the text, the pair, the id and the
    kept columns in their order.

    Args:
        raw: rows of one file.
        source: that file.
        columns: what the columns are for.
        target: `accepted_schema` of them.
    """
    row_errors: RowErrors = dict(raw.row_errors)
    numbers = np.arange(raw.first_row, raw.first_row + raw.num_rows, dtype=np.int64)
    arrays = [pa.array(numbers)]
    for name in columns.texts:
        arrays.append(_check_text(raw.texts[name], raw.value_errors.get(name, {}), row_errors))
    for name, kind in zip(columns.passthrough, target.types[len(arrays) :], strict=True):
        _add_first_error(row_errors, raw.value_errors.get(name, {}))
        arrays.append(_check_passed(raw.passthrough[name], kind, row_errors))
    rejected = np.array(sorted(row_errors), dtype=np.int64)
    is_accepted = np.ones(raw.num_rows, dtype=bool)
    is_accepted[rejected] = False
    # Rejected rows may hold nulls where the target has none, so they go before its schema comes.
    accepted = [array.filter(pa.array(is_accepted)) for array in arrays] if rejected.size else arrays
    return RowBatch(
        accepted=pa.Table.from_arrays(accepted, schema=target),
        rejected=rejected_table(
            source, numbers[rejected], [row_errors[index] for index in rejected.tolist()]
        ),
    )


def _check_text(values: pa.Array, found: RowErrors, row_errors: RowErrors) -> pa.Array:
    _add_first_error(row_errors, found)
    if values.null_count:
        _add_first_error(row_errors, dict.fromkeys(_positions(values.is_null()), (RejectReason.NULL, None)))
    texts = _decode(values, row_errors)
    is_empty = pc.or_(pc.equal(pc.binary_length(texts), 0), pc.utf8_is_space(texts))
    _add_first_error(
        row_errors, {index: (RejectReason.EMPTY, values[index].as_py()) for index in _positions(is_empty)}
    )
    return texts


def _check_passed(values: pa.Array, kind: pa.DataType, row_errors: RowErrors) -> pa.Array:
    if is_string(kind):
        values = _decode(values.cast(pa.binary()), row_errors)
    return values if values.type == kind else values.cast(kind)


def _decode(values: pa.Array, row_errors: RowErrors) -> pa.Array:
    """Return binary `values` as strings, null where they are not UTF-8."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        texts: list[str | None] = []
        for index, value in enumerate(values.to_pylist()):
            try:
                texts.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                texts.append(None)
                _add_first_error(row_errors, {index: (RejectReason.UNDECODABLE, value)})
        return pa.array(texts, type=pa.string())


def _add_first_error(row_errors: RowErrors, found: RowErrors) -> None:
    for index, error in found.items():
        row_errors.setdefault(index, error)


def _positions(mask: pa.Array) -> list[int]:
    positions: list[int] = pc.indices_nonzero(mask).to_pylist()
    return positions


def rejected_table(source: str, numbers: NDArray[np.int64], row_errors: Sequence[RowError]) -> pa.Table:
    """Return rejected rows, as `schema.rejected_schema` says.

    Args:
        source: their file.
        numbers: (rows,) of them in the file.
        row_errors: (rows,) why each is rejected, and the value that is.
    """
    return pa.Table.from_arrays(
        [
            source_column(source, len(row_errors)),
            pa.array(numbers),
            pa.array([str(reason) for reason, _ in row_errors], type=pa.string()),
            pa.array([value and value[:MAX_RAW_BYTES] for _, value in row_errors], type=pa.binary()),
        ],
        schema=schema.rejected_schema(),
    )
