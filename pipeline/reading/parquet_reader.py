"""Rows of Parquet files, read in little memory even where a row group is large."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.errors import InputError
from pipeline.contract.columns import Columns, check_present
from pipeline.contract.plan import RowRange, WorkItem, even_ranges
from pipeline.reading.file_versions import changed
from pipeline.reading.input_files import InputFile, open_input
from pipeline.reading.read_errors import read_errors_as_input_error
from pipeline.reading.row_validation import RawRows, is_string

# Column chunks are streamed through buffers of this size; without one, they are read whole.
_BUFFER_BYTES = 1024 * 1024
# No metadata tells how long values are, and one that repeats takes next to nothing of the file: where long
# rows follow short ones, as many as this are decoded before it is seen.
_MOST_DECODED_ROWS = 256
_JOINED_ROWS = 8192


def inspect_parquet(
    file: InputFile, columns: Columns, *, rows_per_shard: int
) -> tuple[tuple[RowRange, ...], dict[str, pa.DataType]]:
    """Return how a Parquet file is cut, and the types of the columns that are passed through.

    Raises:
        InputError: the file cannot be read, lacks a column, its text is of another type, or another column of
            a type that cannot be passed through.
    """
    with _open_parquet(file.path) as parquet:
        schema = parquet.schema_arrow
        check_present(file.path, schema.names, columns)
        for name in columns.texts:
            if not _is_text(schema.field(name).type):
                raise InputError(
                    f"{file.path}: column {name!r} holds {schema.field(name).type}, not text: name another"
                )
        groups = [parquet.metadata.row_group(i).num_rows for i in range(parquet.metadata.num_row_groups)]
        types = {
            name: _passed_type(schema.field(name).type, path=file.path, name=name)
            for name in columns.passthrough
        }
        return tuple(cut_row_groups(groups, rows_per_shard)), types


def cut_row_groups(group_sizes: Sequence[int], rows_per_shard: int) -> Iterator[RowRange]:
    """Cut row groups into ranges of at most `rows_per_shard` rows: of whole groups, or slices of one.

    >>> [(rows.first_row, rows.num_rows) for rows in cut_row_groups([2, 2, 2, 9], 4)]
    [(0, 4), (4, 2), (6, 3), (9, 3), (12, 3)]
    """
    first_row = num_rows = 0
    for size in group_sizes:
        if num_rows and num_rows + size > rows_per_shard:
            yield RowRange(first_row=first_row, num_rows=num_rows)
            first_row, num_rows = first_row + num_rows, 0
        if size <= rows_per_shard:
            num_rows += size
            continue
        for start, part in even_ranges(size, rows_per_shard):
            yield RowRange(first_row=first_row + start, num_rows=part)
        first_row += size
    if num_rows:
        yield RowRange(first_row=first_row, num_rows=num_rows)


def read_parquet(item: WorkItem, columns: Columns, *, max_rows: int, max_bytes: int) -> Iterator[RawRows]:
    """Yield the rows of a work item of a Parquet file.

    Args:
        item: which rows.
        columns: which columns.
        max_rows: the most rows to yield at once.
        max_bytes: about the most bytes to yield at once, unless one row alone is longer.

    Raises:
        InputError: the file cannot be read, or is not the one that the work was planned for.
    """
    first_row = item.rows.first_row
    with _open_parquet(item.path) as parquet:
        check_present(item.path, parquet.schema_arrow.names, columns)
        joined = _join(_read_rows(parquet, item, columns, max_bytes), max_bytes=max_bytes)
        tables = (_columns_of(table, columns) for table in joined)
        for rows in _regroup(tables, len(columns.texts), max_rows=max_rows, max_bytes=max_bytes):
            yield _raw_rows(rows, columns, first_row)
            first_row += rows.num_rows
    if first_row - item.rows.first_row != item.rows.num_rows:
        raise changed(item.path)


@contextmanager
def _open_parquet(path: str) -> Iterator[pq.ParquetFile]:
    with open_input(path) as stream:
        with read_errors_as_input_error(path):
            parquet = pq.ParquetFile(
                pa.PythonFile(stream, mode="r"), buffer_size=_BUFFER_BYTES, pre_buffer=False
            )
        yield parquet


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return is_string(kind.value_type)
    return (
        is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_null(kind)
    )


def _passed_type(kind: pa.DataType, *, path: str, name: str) -> pa.DataType:
    """Return the type in which a column is passed through: views become what they show."""
    kind = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)
    try:
        # What is done with rows later: some are left out, the others put into another order.
        pa.nulls(1, kind).filter(pa.array([True])).take(pa.array([0]))
    except pa.ArrowNotImplementedError as error:
        raise InputError(
            f"{path}: column {name!r} holds {kind}, which cannot be passed through: write it as another type"
        ) from error
    return kind


def _read_rows(
    parquet: pq.ParquetFile, item: WorkItem, columns: Columns, max_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Yield an item's rows, a few at a time where they are long."""
    sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.metadata.num_row_groups)]
    ends = np.cumsum(sizes, dtype=np.int64)
    begin, end = item.rows.first_row, item.rows.first_row + item.rows.num_rows
    groups = [i for i, size in enumerate(sizes) if size and ends[i] > begin and ends[i] - size < end]
    if not groups:
        return
    position = int(ends[groups[0]]) - sizes[groups[0]]
    kinds = {name: parquet.schema_arrow.field(name).type for name in columns.texts}
    folded = [name for name, kind in kinds.items() if pa.types.is_dictionary(kind)]
    rows_at_once = 1
    # On one thread: decoding takes little time, and every thread's allocator keeps memory of its own.
    batches = parquet.iter_batches(
        batch_size=rows_at_once,
        row_groups=groups,
        columns=list(columns.all_columns),
        use_threads=False,
    )
    with read_errors_as_input_error(item.path):
        for batch in (_in_full(batch, folded) for batch in batches):
            # As many as take `max_bytes` if they are like these. The reader asks anew before every batch.
            fitting = batch.num_rows * max_bytes // max(batch.get_total_buffer_size(), 1)
            rows_at_once = max(1, min(fitting, 2 * rows_at_once, _MOST_DECODED_ROWS))
            parquet.reader.set_batch_size(rows_at_once)
            skipped = max(begin - position, 0)
            if skipped < batch.num_rows:
                yield batch.slice(skipped, end - position - skipped)
            position += batch.num_rows
            if position >= end:
                return


def _in_full(batch: pa.RecordBatch, folded: Sequence[str]) -> pa.RecordBatch:
    """Return rows with every text in full: in a `folded` column it stands once, however often it repeats."""
    for name in folded:
        position = batch.schema.get_field_index(name)
        batch = batch.set_column(position, name, batch.column(position).dictionary_decode())
    return batch


def _join(batches: Iterable[pa.RecordBatch], *, max_bytes: int) -> Iterator[pa.Table]:
    """Put small batches together, without copying: what is done with many rows at once is quicker.

    Those that are large stand alone, so that the bytes of their rows are not told by those of other rows.
    """
    held: list[pa.RecordBatch] = []
    num_rows = num_bytes = 0
    for batch in batches:
        batch_bytes = batch.get_total_buffer_size()
        if held and (num_rows >= _JOINED_ROWS or num_bytes + batch_bytes > max_bytes):
            yield pa.Table.from_batches(held)
            held, num_rows, num_bytes = [], 0, 0
        held.append(batch)
        num_rows += batch.num_rows
        num_bytes += batch_bytes
    if held:
        yield pa.Table.from_batches(held)


def _columns_of(rows: pa.Table, columns: Columns) -> pa.Table:
    """Return text columns as binary, then those that are passed through, named by position."""
    texts = [rows.column(name).cast(pa.binary()) for name in columns.texts]
    arrays = [*texts, *(rows.column(name) for name in columns.passthrough)]
    return pa.Table.from_arrays(arrays, names=[str(position) for position in range(len(arrays))])


def _regroup(
    tables: Iterable[pa.Table], num_texts: int, *, max_rows: int, max_bytes: int
) -> Iterator[pa.Table]:
    """Cut and join tables so that each is as full as it may be."""
    held: list[pa.Table] = []
    num_rows = num_bytes = 0
    for table in tables:
        ends = np.cumsum(_row_bytes(table, num_texts))
        start = taken = 0  # rows, and their bytes, that have gone from this table
        while start < table.num_rows:
            fitting = int(np.searchsorted(ends, taken + max_bytes - num_bytes, side="right")) - start
            count = min(fitting, max_rows - num_rows, table.num_rows - start)
            if count <= 0 and held:
                yield pa.concat_tables(held)
                held, num_rows, num_bytes = [], 0, 0
                continue
            count = max(count, 1)
            held.append(table.slice(start, count))
            start += count
            num_rows += count
            num_bytes += int(ends[start - 1]) - taken
            taken = int(ends[start - 1])
    if held:
        yield pa.concat_tables(held)


def _row_bytes(table: pa.Table, num_texts: int) -> NDArray[np.int64]:
    """Return the bytes of each row: its texts, and an equal share of what the other columns take."""
    lengths = [pc.fill_null(pc.binary_length(table.column(i)), 0).to_numpy() for i in range(num_texts)]
    others = sum(column.nbytes for column in table.columns[num_texts:]) // table.num_rows
    total: NDArray[np.int64] = np.sum([np.full(table.num_rows, others), *lengths], axis=0, dtype=np.int64)
    return total


def _raw_rows(rows: pa.Table, columns: Columns, first_row: int) -> RawRows:
    num_texts = len(columns.texts)
    return RawRows(
        first_row=first_row,
        num_rows=rows.num_rows,
        texts={name: rows.column(i).combine_chunks() for i, name in enumerate(columns.texts)},
        passthrough={name: rows.column(i) for i, name in enumerate(columns.passthrough, start=num_texts)},
    )
