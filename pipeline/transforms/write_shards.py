"""The Beam graph, the same for both Beam jobs, and what is done with one work item.

    Create(items) | Reshuffle | ParDo(one item -> one shard, one report)

Rows never cross a stage boundary, only descriptors and reports do. So memory is flat in the number of rows,
a retried or doubled item replaces its own shard by the same bytes, and the graph runs unchanged on every
runner that we tried.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import apache_beam as beam
import pyarrow as pa
import torch
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from model.engine.execution import Execution
from model.engine.malloc import disable_malloc_trim
from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import REJECTED
from pipeline.contract.plan import WorkItem
from pipeline.contract.shards import Counts, ParquetFileWriter, ShardWriter, with_metadata
from pipeline.reading.inputs import Columns, Inputs, RowBatch, read_item

METRICS_NAMESPACE = "fastbert"
ROWS = "rows"
DISTINCT_TEXTS = "distinct_texts"
BUSY_MILLISECONDS = "busy_milliseconds"

# The rows of an item are read, deduplicated and sorted by length a window at a time; an item of the default
# size is one window. The bounds keep memory flat where items are huge, as of compressed files.
WINDOW_ROWS = 1 << 17
WINDOW_BYTES = 32 << 20

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How an item's rows are read.

    Attributes:
        columns: which columns of the input.
        id_type: type of the id column, None without one.
        kept: the columns that are passed through.
    """

    columns: Columns
    id_type: pa.DataType | None
    kept: tuple[pa.Field, ...] = ()

    @classmethod
    def of(cls, inputs: Inputs) -> "ReadOptions":
        """Return how the rows of some files are read."""
        return cls(columns=inputs.columns, id_type=inputs.id_type, kept=inputs.kept)


class RowTask(Protocol[Loaded]):
    """What a job does with rows; small, picklable, the same on every worker."""

    @property
    def reading(self) -> ReadOptions:
        """How rows are read."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the vectors."""

    @property
    def execution(self) -> Execution:
        """Device, precision and micro-batches."""

    @property
    def schema(self) -> pa.Schema:
        """Schema of the shards, without metadata."""

    def load(self) -> Loaded:
        """Load what is shared by all items of a process: the model."""

    def process(self, rows: pa.Table, source: str, loaded: Loaded) -> tuple[pa.Table, Counts]:
        """Turn accepted rows into rows of the shard, and count."""


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What became of a work item.

    Attributes:
        name: the shard's file name.
        counts: rows, rejected rows, and what else the job counts.
    """

    name: str
    counts: Counts


@dataclass(frozen=True, kw_only=True)
class ShardJob(Generic[Loaded]):
    """A task and where its shards go.

    Attributes:
        task: what is done with rows.
        output: the output directory.
        metadata: goes into every shard's schema under `fastbert.*`.
        torch_threads: threads of a process; None leaves torch's own choice.
    """

    task: RowTask[Loaded]
    output: str
    metadata: dict[str, str] = field(default_factory=dict)
    torch_threads: int | None = None


def write_shard(job: ShardJob[Loaded], item: WorkItem, loaded: Loaded) -> ShardReport:
    """Do one work item: read its rows, process them, write shard and rejected rows.

    The shard is renamed into place last, so where it is, the rejected rows are too.
    """
    layout = OutputLayout(job.output)
    counts: Counter[str] = Counter({ROWS: 0, REJECTED: 0})
    # Left in reverse order: the rejected rows are in place before the shard is.
    with ExitStack() as files:
        shard = files.enter_context(
            ShardWriter(layout, item.shard_name, with_metadata(job.task.schema, job.metadata))
        )
        rejected: ParquetFileWriter | None = None
        for window in _windows(job.task.reading, item):
            if len(window.accepted):
                table, counted = job.task.process(window.accepted, item.path, loaded)
                shard.write(table)
                counts.update(counted)
            if len(window.rejected):
                rejected = rejected or files.enter_context(_rejected_writer(layout, item, job.metadata))
                rejected.write(window.rejected)
            counts.update({ROWS: len(window.accepted), REJECTED: len(window.rejected)})
        shard.add_counts({name: count for name, count in sorted(counts.items()) if name != ROWS})
    return ShardReport(name=item.shard_name, counts=dict(counts))


def _windows(reading: ReadOptions, item: WorkItem) -> Iterator[RowBatch]:
    if item.rows.num_rows == 0:
        return
    yield from read_item(
        item,
        reading.columns,
        reading.id_type,
        reading.kept,
        max_rows=WINDOW_ROWS,
        max_bytes=WINDOW_BYTES,
    )


def _rejected_writer(layout: OutputLayout, item: WorkItem, metadata: dict[str, str]) -> ParquetFileWriter:
    rejected_schema = with_metadata(schema.rejected_schema(), metadata)
    return ParquetFileWriter(layout, layout.rejected(item.shard_name), rejected_schema)


class _Holder(Generic[Loaded]):
    """What a process has loaded; Beam's `Shared` wants an object that can be weakly referred to."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded


class _WriteShard(beam.DoFn):
    """One work item in, one shard written, one report out."""

    def __init__(self, job: ShardJob[Any]) -> None:
        self._job = job
        self._shared = Shared()
        self._threads_before: int | None = None

    def setup(self) -> None:
        disable_malloc_trim()
        if self._job.torch_threads is not None:
            self._threads_before = torch.get_num_threads()
            torch.set_num_threads(self._job.torch_threads)

    def teardown(self) -> None:
        # In an in-process runner the process is the caller's, who goes on with it.
        if self._threads_before is not None:
            torch.set_num_threads(self._threads_before)
            self._threads_before = None

    def process(self, item: WorkItem) -> Iterator[ShardReport]:
        # Loaded here and not in setup: a process without work then loads nothing.
        holder = self._shared.acquire(lambda: _Holder(self._job.task.load()))
        started = time.monotonic()
        report = write_shard(self._job, item, holder.loaded)
        busy = round((time.monotonic() - started) * 1000)
        for name, count in {**report.counts, BUSY_MILLISECONDS: busy}.items():
            Metrics.counter(METRICS_NAMESPACE, name).inc(count)
        yield report


class WriteShards(beam.PTransform):
    """Work items to shards; returns a PCollection of `ShardReport`.

    Worker processes start with `python -m`: who has a `model.py` in the working directory sets
    PYTHONSAFEPATH=1 before the pipeline runs, as the commands do, since it would be taken for this package.
    """

    def __init__(self, job: ShardJob[Any]) -> None:
        """Say what is done with the rows of each item, and where the shards go."""
        super().__init__()
        self._job = job

    def expand(self, items: beam.PCollection[WorkItem]) -> beam.PCollection[ShardReport]:
        """Spread the items over the workers and write one shard for each."""
        return (
            items
            | "SpreadItems" >> beam.Reshuffle()
            | "WriteShard" >> beam.ParDo(_WriteShard(self._job)).with_output_types(ShardReport)
        )
