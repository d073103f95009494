"""The Beam graph, the same for all corpus jobs, and what is done with one work item.

    Create(items) | Reshuffle | ParDo(one item -> one shard, its name)

Rows never cross a stage boundary, only descriptors and names do. So memory is flat in the number of rows,
a retried or doubled item replaces its own shard by the same bytes, and the graph runs unchanged on every
runner that we tried.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import apache_beam as beam
import torch
from apache_beam.metrics import Metrics
from apache_beam.pvalue import PBegin

from model.engine.kernel_cache import limit_kernel_cache
from model.engine.malloc import disable_malloc_trim
from model.errors import FastBertJobsError
from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import REJECTED, ROWS, Manifest
from pipeline.contract.plan import WorkItem
from pipeline.contract.shards import Counts, ParquetFileWriter, ShardWriter, with_metadata
from pipeline.contract.worker_errors import has_worker_errors, write_worker_error
from pipeline.reading.inputs import ReadOptions, RowBatch, read_item
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.loaded_models import Holder, acquire

METRICS_NAMESPACE = "fastbert"
DISTINCT_TEXTS = "distinct_texts"
BUSY_MILLISECONDS = "busy_milliseconds"

# The rows of an item are read, deduplicated and sorted by length a window at a time; an item of the default
# size is one window. The bounds keep memory flat where items are huge, as of compressed files.
WINDOW_ROWS = 1 << 17
WINDOW_BYTES = 32 << 20


def write_shard(job: CorpusJob[Manifest], item: WorkItem, loaded: object) -> Counts:
    """Do one work item: read its rows, process them, write shard and rejected rows.

    The shard is renamed into place last, so where it is, the rejected rows are too.

    Returns:
        How many rows there are, how many were rejected, and what else the job counts.
    """
    counts: Counter[str] = Counter({ROWS: 0, REJECTED: 0})
    # Left in reverse order: the rejected rows are in place before the shard is.
    with ExitStack() as files:
        shard = files.enter_context(
            ShardWriter(job.layout, item.shard_name, with_metadata(job.task.schema, job.metadata))
        )
        rejected: ParquetFileWriter | None = None
        for window in _windows(job.task.reading, item):
            if len(window.accepted):
                table, counted = job.task.process(window.accepted, item.path, loaded)
                shard.write(table)
                counts.update(counted)
            if len(window.rejected):
                rejected = rejected or files.enter_context(_rejected_writer(job.layout, item, job.metadata))
                rejected.write(window.rejected)
            counts.update({ROWS: len(window.accepted), REJECTED: len(window.rejected)})
        shard.add_counts({name: count for name, count in sorted(counts.items()) if name != ROWS})
    return dict(counts)


def _windows(reading: ReadOptions, item: WorkItem) -> Iterator[RowBatch]:
    if item.rows.num_rows == 0:
        return
    yield from read_item(item, reading, max_rows=WINDOW_ROWS, max_bytes=WINDOW_BYTES)


def _rejected_writer(layout: OutputLayout, item: WorkItem, metadata: dict[str, str]) -> ParquetFileWriter:
    rejected_schema = with_metadata(schema.rejected_schema(), metadata)
    return ParquetFileWriter(layout, layout.rejected(item.shard_name), rejected_schema)


class _WriteShard(beam.DoFn):
    """One work item in, one shard written, its name out; none where a user's mistake was found."""

    def __init__(self, job: CorpusJob[Manifest]) -> None:
        self._job = job
        self._holder: Holder[object] | None = None
        self._threads_before: int | None = None

    def setup(self) -> None:
        disable_malloc_trim()
        limit_kernel_cache()
        if self._job.torch_threads is not None:
            self._threads_before = torch.get_num_threads()
            torch.set_num_threads(self._job.torch_threads)

    def teardown(self) -> None:
        if self._threads_before is not None:
            torch.set_num_threads(self._threads_before)

    def process(self, item: WorkItem) -> Iterator[str]:
        layout = self._job.layout
        # The job has failed already; what is finished stays for the next run.
        if has_worker_errors(layout):
            return
        try:
            self._write(item)
        except FastBertJobsError as error:
            write_worker_error(layout, item.shard_name, error)
            return
        yield item.shard_name

    def _write(self, item: WorkItem) -> None:
        # Loaded here and not in setup: a process without work then loads nothing.
        task = self._job.task
        self._holder = self._holder or acquire(task, task.load)
        started = time.monotonic()
        counts = write_shard(self._job, item, self._holder.loaded)
        busy = round((time.monotonic() - started) * 1000)
        for name, count in {**counts, BUSY_MILLISECONDS: busy}.items():
            Metrics.counter(METRICS_NAMESPACE, name).inc(count)


class WriteShards(beam.PTransform):
    """Work items to shards; returns a PCollection of the shards' names.

    A worker that finds a user's mistake leaves it in the output directory, where `CorpusJob.commit` raises
    it. Worker processes that Beam starts want `PYTHONSAFEPATH=1` in their environment: a module of the user's
    in the working directory that is called `model` would otherwise be taken for ours.
    """

    def __init__(self, job: CorpusJob[Manifest]) -> None:
        """Say what is done with the rows of each item, and where the shards go."""
        super().__init__()
        self._job = job

    def expand(self, items: beam.PCollection[WorkItem]) -> beam.PCollection[str]:
        """Spread the items over the workers and write one shard for each."""
        return (
            items
            | "SpreadItems" >> beam.Reshuffle()
            | "WriteShard" >> beam.ParDo(_WriteShard(self._job)).with_output_types(str)
        )


class RunCorpusJob(beam.PTransform):
    """A whole corpus job at the root of a pipeline; returns a PCollection of its one manifest."""

    def __init__(self, job: CorpusJob[Manifest], kind: type[Manifest] = Manifest) -> None:
        """Say which job, and of what kind its manifest is."""
        super().__init__()
        self._job, self._kind = job, kind

    def expand(self, begin: PBegin) -> beam.PCollection[Manifest]:
        """Claim the output directory, write what is not finished, and commit."""
        job = self._job
        return (
            begin
            | "WorkItems" >> beam.Create(job.pending(job.claim()))
            | "WriteShards" >> WriteShards(job)
            | "Gather" >> beam.combiners.ToList()
            | "WriteManifest" >> beam.Map(lambda _: job.commit()).with_output_types(self._kind)
        )
