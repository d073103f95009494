"""Rows of CSV, TSV and JSONL files."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import BinaryIO

import pyarrow as pa

from pipeline.contract.columns import Columns, check_present
from pipeline.contract.plan import RowRange, WorkItem
from pipeline.reading.csv_reader import DelimitedParser, parse_header
from pipeline.reading.file_versions import changed
from pipeline.reading.input_files import CSV, JSONL, InputFile, is_compressed, open_input
from pipeline.reading.jsonl_reader import JsonParser, infer_types
from pipeline.reading.record_splitter import (
    CsvRecordEnds,
    RecordEnds,
    find_ranges,
    line_ends,
    read_records,
    skip_bom,
)
from pipeline.reading.row_validation import RawRows

_WHOLE_FILE = RowRange(first_row=0, num_rows=-1)


def inspect_text(
    file: InputFile, columns: Columns, *, rows_per_shard: int
) -> tuple[tuple[RowRange, ...], dict[str, pa.DataType]]:
    """Return how a text file is cut, and the types of the columns that are passed through.

    A compressed file is one range of unknown size. The types are null where the file does not tell, and
    there are none where it has not even a header.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    with open_input(file.path) as stream:
        skip_bom(stream, path=file.path)
        records = read_records(stream, _record_ends(file.format), path=file.path)
        if file.format == JSONL:
            types, has_rows = infer_types(records, columns, path=file.path)
        else:
            header = next(records, None)
            if header is None:
                return (), {}
            check_present(file.path, parse_header(header, format=file.format, path=file.path), columns)
            types, has_rows = dict.fromkeys(columns.passthrough, pa.string()), next(records, None) is not None
        if is_compressed(file.path):
            return ((_WHOLE_FILE,) if has_rows else ()), types
        ranges = find_ranges(
            stream,
            _record_ends(file.format),
            path=file.path,
            has_header=file.format != JSONL,
            rows_per_shard=rows_per_shard,
        )
        return ranges, types


def read_text(
    item: WorkItem,
    columns: Columns,
    types: Mapping[str, pa.DataType],
    *,
    max_rows: int,
    max_bytes: int,
) -> Iterator[RawRows]:
    """Yield the rows of a work item of a text file.

    Args:
        item: which rows.
        columns: which columns.
        types: the types of the columns that are passed through.
        max_rows: the most rows to yield at once.
        max_bytes: the most bytes of records to yield at once, unless one alone is longer.

    Raises:
        InputError: the file cannot be read, or is not the one that the work was planned for.
    """
    first_row = item.rows.first_row
    with open_input(item.path) as stream:
        parser = _parser(stream, item, columns, types)
        records = _records_of(stream, item)
        for batch in _batched(records, max_rows=max_rows, max_bytes=max_bytes):
            yield parser.parse(batch, first_row=first_row)
            first_row += len(batch)
    if first_row - item.rows.first_row != item.rows.num_rows >= 0:
        raise changed(item.path)


def _record_ends(format: str) -> RecordEnds:
    return CsvRecordEnds() if format == CSV else line_ends


def _parser(
    stream: BinaryIO, item: WorkItem, columns: Columns, types: Mapping[str, pa.DataType]
) -> JsonParser | DelimitedParser:
    if item.format == JSONL:
        return JsonParser(columns, types)
    skip_bom(stream, path=item.path)
    header = next(read_records(stream, _record_ends(item.format), path=item.path), b"")
    names = parse_header(header, format=item.format, path=item.path)
    check_present(item.path, names, columns)
    return DelimitedParser(columns, names, format=item.format)


def _records_of(stream: BinaryIO, item: WorkItem) -> Iterator[bytes]:
    ends = _record_ends(item.format)
    if item.rows.num_bytes >= 0:
        stream.seek(item.rows.first_byte)
        return read_records(stream, ends, path=item.path, num_bytes=item.rows.num_bytes)
    skip_bom(stream, path=item.path)
    return islice(read_records(stream, ends, path=item.path), int(item.format != JSONL), None)


def _batched(records: Iterable[bytes], *, max_rows: int, max_bytes: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    num_bytes = 0
    for record in records:
        if batch and (len(batch) == max_rows or num_bytes + len(record) > max_bytes):
            yield batch
            batch, num_bytes = [], 0
        batch.append(record)
        num_bytes += len(record)
    if batch:
        yield batch
