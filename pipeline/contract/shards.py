"""Shards: written whole or not at all, recognised by what stands in their footer."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from model.errors import ArtifactError, OutputError
from model.messages import one_line
from pipeline.contract.layout import OutputLayout
from pipeline.contract.schema import METADATA_PREFIX
from pipeline.contract.storage import basename, delete_files, make_directory

COMPRESSION = "zstd"
FINGERPRINT = "fingerprint"
VERSIONS = "versions"
_COUNTS = "counts"

Counts = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ShardFooter:
    """What a finished shard says of itself.

    Attributes:
        name: its file name.
        num_rows: rows in it.
        metadata: its job's `fastbert.*` entries, without the prefix.
        counts: rows rejected, exits per layer and the like.
    """

    name: str
    num_rows: int
    metadata: Mapping[str, str]
    counts: Counts

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the job that wrote it; empty if no job of ours did."""
        return self.metadata.get(FINGERPRINT, "")

    @property
    def versions(self) -> str:
        """The library versions that it was made with, as its job's metadata have them."""
        return self.metadata.get(VERSIONS, "")


class ParquetFileWriter:
    """A Parquet file that appears under its name only when it is whole.

    It is written to a name of its own in the job's temporary directory, then renamed. Two attempts at the
    same shard do not meet, and the later one replaces the earlier one's equal bytes.

    Raises:
        OutputError: on leaving it, if another run of the job has removed the temporary directory.
    """

    def __init__(self, layout: OutputLayout, path: str, schema: pa.Schema) -> None:
        """Start writing what will be at `path`, a path of `layout`."""
        self._layout, self._path = layout, path
        make_directory(layout.temporary)
        make_directory(FileSystems.split(path)[0])
        self._partial = FileSystems.join(layout.temporary, f"{uuid4().hex}-{basename(path)}")
        self._file = FileSystems.create(self._partial, mime_type="application/octet-stream")
        self._writer = pq.ParquetWriter(self._file, schema, compression=COMPRESSION)

    def write(self, table: pa.Table) -> None:
        """Append a table as one row group."""
        if len(table):
            self._writer.write_table(table, row_group_size=len(table))

    def add_metadata(self, name: str, value: object) -> None:
        """Put a JSON value into the footer."""
        self._writer.add_key_value_metadata({METADATA_PREFIX + name: json.dumps(value, sort_keys=True)})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._file.close()
        if kind is None:
            self._rename()
        else:
            delete_files([self._partial])

    def _rename(self) -> None:
        try:
            FileSystems.rename([self._partial], [self._path])
        except OSError as error:
            if FileSystems.exists(self._partial):
                raise
            # Nobody else removes it: the run that finishes first does, or one that overwrites.
            raise OutputError(
                f"{self._layout.directory!r}: another run of the same job is at work on it; "
                "wait for it, or choose another `output`"
            ) from error


class ShardWriter(ParquetFileWriter):
    """A shard and its counts."""

    def __init__(self, layout: OutputLayout, name: str, schema: pa.Schema) -> None:
        """Start writing the shard `name`."""
        super().__init__(layout, layout.shard(name), schema)

    def add_counts(self, counts: Counts) -> None:
        """Put the shard's counts into its footer."""
        self.add_metadata(_COUNTS, counts)


def with_metadata(schema: pa.Schema, metadata: Mapping[str, str]) -> pa.Schema:
    """Return `schema` with `metadata` under the project's prefix."""
    return schema.with_metadata({METADATA_PREFIX + name: value for name, value in metadata.items()})


def read_footer(layout: OutputLayout, name: str) -> ShardFooter | None:
    """Return what a shard says of itself; None where it is no readable Parquet file."""
    prefix = METADATA_PREFIX.encode()
    try:
        with FileSystems.open(layout.shard(name)) as file:
            footer = pq.ParquetFile(file).metadata
        metadata = {
            key.removeprefix(prefix).decode(): value.decode()
            for key, value in (footer.metadata or {}).items()
            if key.startswith(prefix)
        }
        counts: Counts = json.loads(metadata.pop(_COUNTS, "{}"))
    # Arrow raises either, and a damaged footer may hold anything.
    except (OSError, ValueError):
        return None
    return ShardFooter(name=name, num_rows=footer.num_rows, metadata=metadata, counts=counts)


def read_shard(
    layout: OutputLayout, name: str, *, columns: list[str] | None = None, batch_rows: int = 1 << 16
) -> Iterator[pa.RecordBatch]:
    """Stream a shard.

    Args:
        layout: where it is.
        name: its file name.
        columns: which columns; None for all.
        batch_rows: the most rows of a batch.

    Raises:
        ArtifactError: if it is missing or damaged, or lacks one of the columns.
    """
    try:
        with FileSystems.open(layout.shard(name)) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
            # Arrow leaves out what it does not find.
            for column in columns or ():
                if column not in parquet.schema_arrow.names:
                    raise ValueError(f"it has no column {column!r}")
            yield from parquet.iter_batches(batch_size=batch_rows, columns=columns, use_threads=False)
    # Arrow raises any of these, and Beam the first.
    except (OSError, ValueError, pa.ArrowNotImplementedError) as error:
        raise ArtifactError(
            f"{layout.shard(name)!r} is missing or damaged: {one_line(error)}; "
            "remove what is left of it, and run its command again"
        ) from error
