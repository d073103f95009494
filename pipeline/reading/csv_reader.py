"""Records of CSV and TSV files as rows.

CSV is RFC 4180. Fields are split as bytes, so that one that is not UTF-8 rejects its own row alone and
keeps its exact bytes; Python's csv module knows text only, ends fields at lone carriage returns and limits
their length for the whole process.
"""

import re
from collections.abc import Sequence

import pyarrow as pa

from model.errors import InputError
from pipeline.contract.columns import Columns
from pipeline.reading.input_files import CSV
from pipeline.reading.row_validation import RawRows, RejectReason, RowErrors

_CSV_FIELD = re.compile(rb'(?:"([^"]*+(?:""[^"]*+)*+)"|(?!")([^,]*+))(,|\Z)')


def split_csv(record: bytes) -> list[bytes] | None:
    """Return the fields of a record, None if text follows a closing quote or one is missing.

    >>> split_csv(b'5" pipe,"a ""b"", c",')
    [b'5" pipe', b'a "b", c', b'']
    >>> split_csv(b'"a" b')
    """
    if b'"' not in record:
        return record.split(b",")
    fields = []
    position = 0
    while match := _CSV_FIELD.match(record, position):
        quoted, plain, end = match.groups()
        fields.append(plain if quoted is None else quoted.replace(b'""', b'"'))
        if not end:
            return fields
        position = match.end()
    return None


def split_tsv(record: bytes) -> list[bytes]:
    """Return the fields of a record; a quote is a character.

    >>> split_tsv(b'"a')
    [b'"a']
    """
    return record.split(b"\t")


def parse_header(record: bytes, *, format: str, path: str) -> list[str]:
    """Return the column names.

    Raises:
        InputError: they are not UTF-8, or their quotes are wrong.
    """
    fields = split_csv(record) if format == CSV else split_tsv(record)
    if fields is None:
        raise InputError(f"{path}: the quotes of the header do not close: is it {format}? Else say `format`")
    try:
        return [field.decode() for field in fields]
    except UnicodeDecodeError:
        raise InputError(f"{path}: the header is not UTF-8: convert the file, or say `format`") from None


class DelimitedParser:
    """Picks the wanted fields out of records.

    Args:
        columns: which to pick.
        names: all column names of the file, in its order.
        format: csv or tsv.
    """

    def __init__(self, columns: Columns, names: Sequence[str], *, format: str) -> None:
        self._columns = columns
        self._split = split_csv if format == CSV else split_tsv
        self._num_fields = len(names)
        self._positions = {name: names.index(name) for name in columns.all_columns}

    def parse(self, records: Sequence[bytes], *, first_row: int) -> RawRows:
        """Return records as rows, numbered from `first_row`."""
        row_errors: RowErrors = {}
        rows: list[list[bytes] | None] = []
        for index, record in enumerate(records):
            fields = self._split(record) if record else None
            if not record:
                row_errors[index] = (RejectReason.EMPTY, record)
            elif fields is None or len(fields) != self._num_fields:
                fields = None
                row_errors[index] = (RejectReason.MALFORMED, record)
            rows.append(fields)
        picked = {name: self._pick(rows, name) for name in self._columns.all_columns}
        return RawRows(
            first_row=first_row,
            num_rows=len(rows),
            texts={name: picked[name] for name in self._columns.texts},
            passthrough={name: picked[name] for name in self._columns.passthrough},
            row_errors=row_errors,
        )

    def _pick(self, rows: Sequence[list[bytes] | None], name: str) -> pa.Array:
        position = self._positions[name]
        return pa.array([None if row is None else row[position] for row in rows], type=pa.binary())
