"""Shards: written whole or not at all, recognised by what stands in their footer.

A footer holds the checksum of all that stands before it and of the rejected rows, and the manifest holds that
of the footer.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from sys import intern
from types import TracebackType
from typing import Self
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from model.errors import ArtifactError
from model.messages import one_line
from pipeline.contract.checksums import Checksum, HashingFile, file_checksum
from pipeline.contract.layout import OutputLayout
from pipeline.contract.schema import METADATA_PREFIX
from pipeline.contract.storage import atomic_file, basename, make_directory, open_file

COMPRESSION = "zstd"
FINGERPRINT = "fingerprint"
VERSIONS = "versions"
_COUNTS = "counts"
_PAGES, _REJECTED = "checksum", "checksum_of_rejected"
# Behind a footer: its length in four bytes, and a magic number.
_TAIL_BYTES = 8

Counts = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ShardFooter:
    """What a finished shard says of itself.

    Attributes:
        name: its file name.
        num_rows: rows in it.
        metadata: its job's `fastbert.*` entries, without the prefix.
        counts: rows rejected, exits per layer and the like.
        pages: of all that stands before the footer.
        rejected: of the file of rejected rows; None where there is none.
        checksum: SHA-256 of the footer, 64 hexadecimal digits.
    """

    name: str
    num_rows: int
    metadata: Mapping[str, str]
    counts: Counts
    pages: Checksum
    rejected: Checksum | None
    checksum: str

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
    same shard do not meet, and the later one replaces the earlier one's equal bytes. Every page has a
    checksum, which Arrow holds against it when it is read.
    """

    def __init__(self, layout: OutputLayout, path: str, schema: pa.Schema) -> None:
        """Start writing what will be at `path`, a path of `layout`."""
        make_directory(layout.temporary)
        make_directory(FileSystems.split(path)[0])
        self._partial = layout.partial(f"{uuid4().hex}-{basename(path)}")
        self._context = ExitStack()
        self._file = HashingFile(self._context.enter_context(atomic_file(path, self._partial)))
        self._writer = pq.ParquetWriter(self._file, schema, compression=COMPRESSION, write_page_checksum=True)

    @property
    def checksum(self) -> Checksum:
        """Of what was written: of the whole file, once it is left."""
        return self._file.checksum

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
        if error is None:
            with self._context:
                self._writer.close()
            return
        # It would be closed later and loudly; that it cannot be written to is not what failed first.
        with suppress(OSError, ValueError):
            self._writer.close()
        self._context.__exit__(kind, error, trace)


class ShardWriter(ParquetFileWriter):
    """A shard, its counts and its checksums."""

    def __init__(self, layout: OutputLayout, name: str, schema: pa.Schema) -> None:
        """Start writing the shard `name`."""
        super().__init__(layout, layout.shard(name), schema)

    def finish(self, counts: Counts, rejected: Checksum | None) -> None:
        """Put into the footer what is told of the shard; no rows can be added after it.

        Args:
            counts: of it.
            rejected: of the file of rejected rows, which is in place already; None without one.
        """
        self.add_metadata(_COUNTS, counts)
        self.add_metadata(_REJECTED, rejected and asdict(rejected))
        self.add_metadata(_PAGES, asdict(self.checksum))


def with_metadata(schema: pa.Schema, metadata: Mapping[str, str]) -> pa.Schema:
    """Return `schema` with `metadata` under the project's prefix."""
    return schema.with_metadata({METADATA_PREFIX + name: value for name, value in metadata.items()})


def read_footer(layout: OutputLayout, name: str) -> ShardFooter | None:
    """Return what a shard says of itself; None where it is no readable Parquet file of ours."""
    prefix = METADATA_PREFIX.encode()
    try:
        with open_file(layout.shard(name)) as file:
            footer = pq.ParquetFile(file).metadata
            file.seek(-footer.serialized_size - _TAIL_BYTES, os.SEEK_END)
            checksum = hashlib.sha256(file.read()).hexdigest()
        metadata = {
            key.removeprefix(prefix).decode(): value.decode()
            for key, value in (footer.metadata or {}).items()
            if key.startswith(prefix)
        }
        # The same few names in every shard, of which there may be a million.
        counts: Counts = {intern(name): num for name, num in json.loads(metadata.pop(_COUNTS)).items()}
        pages, rejected = json.loads(metadata.pop(_PAGES)), json.loads(metadata.pop(_REJECTED))
        return ShardFooter(
            name=name,
            num_rows=footer.num_rows,
            metadata=metadata,
            counts=counts,
            pages=Checksum(**pages),
            rejected=rejected and Checksum(**rejected),
            checksum=checksum,
        )
    # Arrow raises any of the first three, and a damaged footer may hold anything.
    except (OSError, ValueError, pa.ArrowException, KeyError, TypeError, AttributeError):
        return None


def is_intact(layout: OutputLayout, footer: ShardFooter) -> bool:
    """Return whether a shard and its rejected rows are, byte by byte, what was written; reads all of both."""
    try:
        is_same = file_checksum(layout.shard(footer.name), footer.pages.num_bytes) == footer.pages
        return is_same and (
            footer.rejected is None or file_checksum(layout.rejected(footer.name)) == footer.rejected
        )
    except OSError:
        return False


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
        with open_file(layout.shard(name)) as file:
            parquet = pq.ParquetFile(
                file, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True
            )
            # Arrow leaves out what it does not find.
            for column in columns or ():
                if column not in parquet.schema_arrow.names:
                    raise ValueError(f"it has no column {column!r}")
            yield from parquet.iter_batches(batch_size=batch_rows, columns=columns, use_threads=False)
    # Arrow raises any of these, and Beam the first.
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ArtifactError(
            f"{layout.shard(name)!r} is missing or damaged: {one_line(error)}; "
            "remove what is left of it, and run its command again"
        ) from error
