"""The reading side of the data contract: input files, how they are cut, and their rows as Arrow batches."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from model.errors import InputError, ParameterError
from pipeline.contract.columns import Columns
from pipeline.contract.job import InputEntry
from pipeline.contract.plan import Plan, RowRange, WorkItem, make_plan
from pipeline.reading.file_versions import checksum, unchanged, version
from pipeline.reading.input_files import FORMATS, JSONL, PARQUET, InputFile, find_files
from pipeline.reading.parquet_reader import inspect_parquet, read_parquet
from pipeline.reading.row_validation import RejectReason, RowBatch, accepted_schema, validate_rows
from pipeline.reading.text_reader import inspect_text, read_text

__all__ = [
    "FORMATS",
    "Columns",
    "Inputs",
    "InspectedFile",
    "ReadOptions",
    "RejectReason",
    "RowBatch",
    "accepted_schema",
    "inspect_inputs",
    "read_item",
]

_INSPECTORS = 8  # files looked at at once: on an object store, most of it is waiting


@dataclass(frozen=True, kw_only=True)
class InspectedFile:
    """What the driver found out about one input file.

    Attributes:
        path: as Beam's FileSystems spell it.
        format: one of `FORMATS`.
        ranges: how its rows are cut; none where it has no rows.
        size: in bytes.
        checksum: `file_versions.checksum` of it.
        version: `file_versions.version` of it, from before it was looked at.
    """

    path: str
    format: str
    ranges: tuple[RowRange, ...]
    size: int
    checksum: str
    version: str


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How an item's rows are read.

    Attributes:
        columns: which columns of the input.
        id_type: type of the id column, None without one.
        kept: the columns that are passed through.
        group_type: type of the group column, None without one.
        rows_per_shard: most rows of an item.
    """

    columns: Columns
    id_type: pa.DataType | None
    kept: tuple[pa.Field, ...]
    group_type: pa.DataType | None = None
    rows_per_shard: int


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All input files of a job.

    Attributes:
        options: how their rows are read.
        sources: the files, sorted by path.
    """

    options: ReadOptions
    sources: tuple[InspectedFile, ...]

    def describe(self) -> tuple[InputEntry, ...]:
        """Return what tells the input files apart."""
        return tuple(
            InputEntry(path=file.path, format=file.format, size=file.size, checksum=file.checksum)
            for file in self.sources
        )

    @property
    def num_rows(self) -> int | None:
        """How many rows the files hold, None where a compressed file hides it."""
        counts = [rows.num_rows for source in self.sources for rows in source.ranges]
        return None if any(count < 0 for count in counts) else sum(counts)

    def plan(self) -> Plan:
        """Return the work items, in the order of the files and their rows; made anew each time.

        Without any rows there is one item all the same, so that the output has a shard to be read.
        """
        runs = [(source.path, source.format, source.ranges) for source in self.sources]
        if not any(ranges for _, _, ranges in runs):
            first = self.sources[0]
            runs = [(first.path, first.format, (RowRange(first_row=0, num_rows=0),))]
        return make_plan(runs, versions={source.path: source.version for source in self.sources})


def inspect_inputs(
    patterns: Sequence[str], columns: Columns, *, rows_per_shard: int, format: str | None = None
) -> Inputs:
    """Find the input files, cut them, and make sure that all of them can be read.

    Local files are read from end to end for it, and text files of elsewhere, unless they are compressed.

    Args:
        patterns: paths, globs or directories, as Beam's FileSystems understand them.
        columns: which columns to read.
        rows_per_shard: the most rows of a range; a compressed file is one range, however long.
        format: one of `FORMATS`, for all files; None to go by their extensions.

    Raises:
        ParameterError: an option has a value that is not allowed.
        InputError: a file is missing, cannot be read, lacks a column, or has another type in it than the
            files before.
    """
    if rows_per_shard < 1:
        raise ParameterError(f"`rows_per_shard` {rows_per_shard}: must be at least 1")
    files = find_files(patterns, format=format)

    def inspect(file: InputFile) -> tuple[InspectedFile, dict[str, pa.DataType]]:
        # Asked first: what changes from here on, a worker finds changed.
        found = version(file.path)
        inspect_file = inspect_parquet if file.format == PARQUET else inspect_text
        ranges, types = inspect_file(file, columns, rows_per_shard=rows_per_shard)
        source = InspectedFile(
            path=file.path,
            format=file.format,
            ranges=ranges,
            size=file.size,
            checksum=checksum(file.path),
            version=found,
        )
        return source, types

    with ThreadPoolExecutor(_INSPECTORS) as pool:
        inspected = list(pool.map(inspect, files))
    options = ReadOptions(
        columns=columns,
        id_type=None if columns.id is None else _common_type(columns.id, inspected),
        kept=tuple(pa.field(name, _common_type(name, inspected)) for name in columns.keep),
        group_type=None if columns.group is None else _common_type(columns.group, inspected),
        rows_per_shard=rows_per_shard,
    )
    return Inputs(options=options, sources=tuple(source for source, _ in inspected))


def read_item(item: WorkItem, options: ReadOptions, *, max_rows: int, max_bytes: int) -> Iterator[RowBatch]:
    """Stream the rows of a work item, each in exactly one of accepted and rejected, in order.

    Args:
        item: which rows of which file.
        options: `Inputs.options`.
        max_rows: the most rows of a batch.
        max_bytes: about the most bytes of a batch; a longer row is a batch by itself.

    Raises:
        InputError: the file cannot be read, or is not the one that the work was planned for.
    """
    columns = options.columns
    if item.format == PARQUET:
        batches = read_parquet(item, columns, max_rows=max_rows, max_bytes=max_bytes)
    else:
        types = {field.name: field.type for field in options.kept}
        if columns.id is not None and options.id_type is not None:
            types[columns.id] = options.id_type
        if columns.group is not None and options.group_type is not None:
            types[columns.group] = options.group_type
        batches = read_text(item, columns, types, max_rows=max_rows, max_bytes=max_bytes)
    target = accepted_schema(columns, options.id_type, options.kept, options.group_type)
    with unchanged(item.path, item.version):
        for raw in batches:
            yield validate_rows(raw, source=item.path, columns=columns, target=target)


def _common_type(
    name: str, inspected: Sequence[tuple[InspectedFile, Mapping[str, pa.DataType]]]
) -> pa.DataType:
    """Return the type that a column has in all files; string where no file tells.

    JSON does not tell 1 from 1.0, so integers in one JSONL file and numbers in another are numbers.
    """
    agreed: pa.DataType | None = None
    first: InspectedFile | None = None
    for source, types in inspected:
        found = types.get(name, pa.null())
        if found == pa.null() or found == agreed:
            continue
        if first is None or agreed is None:
            agreed, first = found, source
        elif source.format == first.format == JSONL and {agreed, found} == {pa.int64(), pa.float64()}:
            agreed = pa.float64()
        else:
            raise InputError(
                f"{source.path}: column {name!r} holds {found}, but {agreed} in {first.path}: make them equal"
            )
    return pa.string() if agreed is None else agreed
