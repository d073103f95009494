"""Inspected input files in a file, so that who does a part of a job need not look at all of them."""

import base64
import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contract.columns import Columns
from pipeline.contract.plan import RowRange
from pipeline.contract.schema import METADATA_PREFIX, SCHEMA_VERSION
from pipeline.contract.shards import COMPRESSION
from pipeline.contract.storage import open_file, write_atomically
from pipeline.contract.typed_json import as_plain, structured
from pipeline.reading.inputs import Inputs, InspectedFile, ReadOptions

_OPTIONS, _NOTES, _VERSION = (METADATA_PREFIX + name for name in ("options", "notes", "schema_version"))
_NAMES = pa.dictionary(pa.int32(), pa.string())
# A row for every range of rows, and one without for a file that has none.
_SCHEMA = pa.schema(
    [
        ("file", pa.int32()),
        ("path", _NAMES),
        ("format", _NAMES),
        ("size", pa.int64()),
        ("checksum", _NAMES),
        ("version", _NAMES),
        ("first_row", pa.int64()),
        ("num_rows", pa.int64()),
        ("first_byte", pa.int64()),
        ("num_bytes", pa.int64()),
    ]
)
_RANGE_FIELDS = ("first_row", "num_rows", "first_byte", "num_bytes")


def write_inputs(path: str, inputs: Inputs, notes: Mapping[str, object]) -> None:
    """Write inspected files as Parquet, whole or not at all; equal ones are equal bytes.

    Args:
        path: of the file.
        inputs: what to write.
        notes: what else is to be read with them; JSON.

    Raises:
        OSError: if it cannot be written.
    """
    metadata = {
        _VERSION: str(SCHEMA_VERSION),
        _OPTIONS: json.dumps(_plain_options(inputs.options), sort_keys=True),
        _NOTES: json.dumps(dict(notes), sort_keys=True),
    }
    rows = [list(values) for values in zip(*_rows(inputs), strict=True)]
    arrays = [pa.array(values, field.type) for values, field in zip(rows, _SCHEMA, strict=True)]
    table = pa.table(arrays, schema=_SCHEMA.with_metadata(metadata))
    write_atomically(path, lambda file: pq.write_table(table, file, compression=COMPRESSION))


def read_inputs(path: str) -> tuple[Inputs, dict[str, Any]]:
    """Return what `write_inputs` wrote: the files, and the notes.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, or of another version.
    """
    with open_file(path) as file:
        table = pq.read_table(file)
    metadata = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    if metadata.get(_VERSION) != str(SCHEMA_VERSION):
        raise ValueError("it is of another version of the data contract")
    if table.schema.remove_metadata() != _SCHEMA:
        raise ValueError("its columns are not those of a plan")
    columns = (table[name].to_pylist() for name in _SCHEMA.names)
    sources = tuple(
        _source([dict(zip(_SCHEMA.names, row, strict=True)) for row in rows])
        for _, rows in groupby(zip(*columns, strict=True), key=itemgetter(0))
    )
    options = _read_options(json.loads(metadata[_OPTIONS]))
    return Inputs(options=options, sources=sources), json.loads(metadata[_NOTES])


def _rows(inputs: Inputs) -> Iterator[tuple[object, ...]]:
    for number, source in enumerate(inputs.sources):
        of_file = (number, source.path, source.format, source.size, source.checksum, source.version)
        for rows in source.ranges:
            yield (*of_file, rows.first_row, rows.num_rows, rows.first_byte, rows.num_bytes)
        if not source.ranges:
            yield (*of_file, None, None, None, None)


def _source(rows: list[dict[str, Any]]) -> InspectedFile:
    first = rows[0]
    ranges = [RowRange(**{name: row[name] for name in _RANGE_FIELDS}) for row in rows]
    return InspectedFile(
        path=first["path"],
        format=first["format"],
        ranges=tuple(ranges) if first["first_row"] is not None else (),
        size=first["size"],
        checksum=first["checksum"],
        version=first["version"],
    )


def _plain_options(options: ReadOptions) -> dict[str, object]:
    return {
        "columns": as_plain(options.columns),
        "id": _encoded(_one_type(options.id_type)),
        "group": _encoded(_one_type(options.group_type)),
        "kept": _encoded(pa.schema(options.kept)),
        "rows_per_shard": options.rows_per_shard,
    }


def _read_options(plain: Mapping[str, Any]) -> ReadOptions:
    id_types, group_types = _decoded(plain["id"]).types, _decoded(plain["group"]).types
    return ReadOptions(
        columns=structured(plain["columns"], Columns),
        id_type=id_types[0] if id_types else None,
        group_type=group_types[0] if group_types else None,
        kept=tuple(_decoded(plain["kept"])),
        rows_per_shard=int(plain["rows_per_shard"]),
    )


def _one_type(kind: pa.DataType | None) -> pa.Schema:
    return pa.schema([] if kind is None else [("type", kind)])


def _encoded(types: pa.Schema) -> str:
    """Return Arrow types as text: no other spelling of them can be read back."""
    return base64.b64encode(types.serialize().to_pybytes()).decode()


def _decoded(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
