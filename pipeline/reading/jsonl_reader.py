"""Records of JSONL files as rows."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import pyarrow as pa

from model.checks import is_unicode
from model.errors import InputError
from pipeline.contract.columns import Columns, check_present
from pipeline.reading.row_validation import RawRows, RejectReason, RowError, RowErrors

INFERENCE_ROWS = 1000
_TYPES: dict[pa.DataType, tuple[type, ...]] = {
    pa.string(): (str,),
    pa.bool_(): (bool,),
    pa.int64(): (int,),
    pa.float64(): (int, float),
}
# Kept columns may hold arrays of strings, too, as labels of which several hold at once.
_STRINGS = pa.list_(pa.string())
_JSON_NAMES = {
    str: "strings",
    bool: "booleans",
    int: "integers",
    float: "numbers",
    list: "arrays",
    dict: "objects",
}
_INT64 = range(-(2**63), 2**63)
_EXACT_FLOATS = range(-(2**53), 2**53 + 1)


def infer_types(
    records: Iterable[bytes], columns: Columns, *, path: str
) -> tuple[dict[str, pa.DataType], bool]:
    """Return the types of the columns that are passed through, and whether there are records at all.

    The first `INFERENCE_ROWS` JSON objects tell; a column that is null in all of them has the type null.

    Raises:
        InputError: a column is in none of them, or holds values of several types, arrays or objects; kept
            columns may hold arrays of strings.
    """
    has_records = False

    def objects() -> Iterator[dict[str, object]]:
        nonlocal has_records
        for record in records:
            has_records = True
            if (row := _parse_object(record)) is not None:
                yield row

    rows = list(islice(objects(), INFERENCE_ROWS))
    if has_records:
        # To look further would keep those waiting who misspelt a name; a null in the first object is enough.
        where = path if len(rows) < INFERENCE_ROWS else f"{path}, first {INFERENCE_ROWS:,} objects"
        check_present(where, list(dict.fromkeys(name for row in rows for name in row)), columns)
    return {
        name: _infer(path, name, [row.get(name) for row in rows], takes_arrays=name in columns.keep)
        for name in columns.passthrough
    }, has_records


def _infer(path: str, name: str, values: Sequence[object], *, takes_arrays: bool) -> pa.DataType:
    found = {type(value) for value in values if value is not None}
    if not found:
        return pa.null()
    if takes_arrays and all(value is None or _is_strings(value) for value in values):
        return _STRINGS
    for kind, fitting in _TYPES.items():
        if found <= set(fitting):
            return kind
    names = " and ".join(sorted(_JSON_NAMES[kind] for kind in found))
    if takes_arrays and found == {list}:
        raise InputError(f"{path}: column {name!r} holds arrays of other things than strings")
    raise InputError(f"{path}: column {name!r} holds {names}: only one scalar type can be passed through")


class JsonParser:
    """Picks the wanted values out of JSON objects.

    Args:
        columns: which to pick.
        types: the types of the columns that are passed through.
    """

    def __init__(self, columns: Columns, types: Mapping[str, pa.DataType]) -> None:
        self._columns = columns
        self._types = types

    def parse(self, records: Sequence[bytes], *, first_row: int) -> RawRows:
        """Return records as rows, numbered from `first_row`."""
        row_errors: RowErrors = {}
        rows: list[dict[str, object]] = []
        for index, record in enumerate(records):
            row = _parse_object(record)
            if row is None:
                reason = RejectReason.MALFORMED if record.strip() else RejectReason.EMPTY
                row_errors[index] = (reason, record)
            rows.append(row or {})
        value_errors: dict[str, RowErrors] = {name: {} for name in self._columns.all_columns}
        texts = {name: self._pick_text(rows, name, value_errors[name]) for name in self._columns.texts}
        passthrough = {name: self._pick(rows, name, value_errors[name]) for name in self._columns.passthrough}
        return RawRows(
            first_row=first_row,
            num_rows=len(rows),
            texts=texts,
            passthrough=passthrough,
            row_errors=row_errors,
            value_errors=value_errors,
        )

    def _pick_text(
        self, rows: Sequence[Mapping[str, object]], name: str, value_errors: RowErrors
    ) -> pa.Array:
        values = []
        for index, row in enumerate(rows):
            value = row.get(name)
            if value is not None and (error := _text_error(value)):
                value_errors[index] = error
                value = None
            values.append(value)
        return pa.array(values, type=pa.string()).cast(pa.binary())

    def _pick(self, rows: Sequence[Mapping[str, object]], name: str, value_errors: RowErrors) -> pa.Array:
        kind = self._types[name]
        values = []
        for index, row in enumerate(rows):
            value = row.get(name)
            if value is not None and (error := _value_error(value, kind)):
                value_errors.setdefault(index, error)
                value = None
            values.append(value)
        return pa.array(values, type=kind)


def _parse_object(record: bytes) -> dict[str, object] | None:
    try:
        # Bytes that are not UTF-8 become lone surrogates: they spoil the values that hold them, not the line.
        row = json.loads(record.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _text_error(value: object) -> RowError | None:
    if not isinstance(value, str):
        return RejectReason.NOT_A_STRING, _raw(value)
    return None if is_unicode(value) else (RejectReason.UNDECODABLE, _raw(value))


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _value_error(value: object, kind: pa.DataType) -> RowError | None:
    if kind == _STRINGS and isinstance(value, list) and _is_strings(value):
        return None if all(map(is_unicode, value)) else (RejectReason.UNDECODABLE, _raw(value))
    if isinstance(value, str) and not is_unicode(value):
        return RejectReason.UNDECODABLE, _raw(value)
    fits = type(value) in _TYPES.get(kind, ())
    if fits and type(value) is int:
        fits = value in (_INT64 if kind == pa.int64() else _EXACT_FLOATS)
    return None if fits else (RejectReason.WRONG_TYPE, _raw(value))


def _raw(value: object) -> bytes:
    """Return a string's bytes as they stood in the file, or a JSON text of anything else."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:  # what can just be read may be too deep to write
        text = "..."
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that the file escaped
        return text.encode("utf-8", "surrogatepass")
