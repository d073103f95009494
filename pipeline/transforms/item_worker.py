"""Work items done one after another, whoever hands them out: Beam, or a process of ours.

A work item becomes one shard and the file of its rejected rows.
"""

import errno
import gzip
import logging
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace

import torch

from model.engine.kernel_cache import limit_kernel_cache
from model.engine.malloc import disable_malloc_trim, trim_malloc
from model.engine.stopwatch import Stopwatch
from model.errors import FastBertJobsError
from model.messages import one_line
from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import REJECTED, ROWS
from pipeline.contract.plan import WorkItem
from pipeline.contract.shards import Counts, ParquetFileWriter, ShardWriter, with_metadata
from pipeline.contract.work_times import Phase, WorkTimes
from pipeline.contract.worker_environment import check_environment
from pipeline.contract.worker_errors import MOST_ERRORS, num_worker_errors, write_worker_error
from pipeline.reading.inputs import ReadOptions, RowBatch, read_item
from pipeline.transforms.answered_rows import in_row_order
from pipeline.transforms.item_job import ItemJob
from pipeline.transforms.loaded_models import Holder, acquire
from pipeline.transforms.row_task import ProcessedRows

# The rows of an item are read, deduplicated and sorted by length a window at a time; an item of the default
# size is one window. The bounds keep memory flat where items are huge, as of compressed files.
WINDOW_ROWS = 1 << 17
WINDOW_BYTES = 32 << 20

# Seconds before an item that storage has failed is tried again.
RETRY_PAUSES = (1.0, 4.0)

# What no pause mends.
_LASTING = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG,
)  # fmt: skip

_LOGGER = logging.getLogger(__name__)


class ItemWorker:
    """Does work items, and leaves what went wrong with one for the driver to raise.

    Attributes:
        cannot_load: whether it could not load the model, and so does nothing any more.
    """

    def __init__(self, job: ItemJob) -> None:
        """Say what is done with the rows of each item, and where the shards go."""
        self._job = job
        self._holder: Holder[object] | None = None
        self._threads_before: int | None = None
        self.cannot_load = False

    def start(self) -> None:
        """Set what holds for this process."""
        disable_malloc_trim()
        limit_kernel_cache()
        if self._job.torch_threads is not None:
            self._threads_before = torch.get_num_threads()
            torch.set_num_threads(self._job.torch_threads)

    def stop(self) -> None:
        """Undo what another user of this process would notice."""
        if self._threads_before is not None:
            torch.set_num_threads(self._threads_before)

    def do(self, item: WorkItem) -> Counts | None:
        """Write an item's shard, and return what was counted; None where it failed.

        Nothing is begun where the model cannot be loaded here, or so many items have failed that it is the
        job that fails.

        Raises:
            Exception: the item's own, where not even that can be written.
        """
        if self.cannot_load or self._num_errors() >= MOST_ERRORS:
            return None
        try:
            counts = self._write_patiently(item)
        except Exception as error:  # noqa: BLE001 - raised by the driver, when the other items are done
            self.cannot_load = self._holder is None
            self._leave(item, error)
            return None
        trim_malloc()
        return counts

    def _num_errors(self) -> int:
        return num_worker_errors(self._job.layout, self._job.part_names)

    def _load(self) -> Holder[object]:
        check_environment(self._job.environment)
        return acquire(self._job.task, self._job.task.load)

    def _write_patiently(self, item: WorkItem) -> Counts:
        for pause in RETRY_PAUSES:
            try:
                return self._write(item)
            except Exception as error:
                if not _is_of_storage(error):
                    raise
                _LOGGER.warning("%s: %s; tried again in %g s", item.description, one_line(error), pause)
                time.sleep(pause)
        return self._write(item)

    def _write(self, item: WorkItem) -> Counts:
        # Loaded here and not in `start`: a process without work then loads nothing.
        self._holder = self._holder or self._load()
        return write_shard(self._job, item, self._holder.loaded)

    def _leave(self, item: WorkItem, error: Exception) -> None:
        try:
            write_worker_error(self._job.layout, item, error, trace=traceback.format_exc())
        except OSError:
            # Of the two, the error that cannot be written is what the user must know.
            raise error from None


def _is_of_storage(error: Exception) -> bool:
    """Return whether an error may be gone in a moment: what is wrong with bytes or names stays wrong."""
    cause = error.__cause__ if isinstance(error, FastBertJobsError) else error
    if not isinstance(cause, OSError) or isinstance(cause, gzip.BadGzipFile):
        return False
    # Arrow's, of damaged files, are plain ones without a number.
    return cause.errno not in _LASTING if cause.errno else type(cause) is not OSError


def write_shard(job: ItemJob, item: WorkItem, loaded: object) -> Counts:
    """Do one work item: read its rows, process them, write shard and rejected rows.

    The shard is renamed into place last, so where it is, the rejected rows are too.

    Returns:
        How many rows there are, how many were rejected, what else the job counts, and what it took.
    """
    started, reading, times = time.perf_counter(), Stopwatch(), WorkTimes()
    counts: Counter[str] = Counter({ROWS: 0, REJECTED: 0})
    with ShardWriter(job.layout, item.shard_name, with_metadata(job.task.schema, job.metadata)) as shard:
        rejected: ParquetFileWriter | None = None
        # Left before the shard is: the rejected rows are in place first.
        with ExitStack() as files:
            for window in _measured(_windows(job.task.reading, item), reading):
                done = _process(job, item, window, loaded)
                shard.write(done.rows)
                if len(done.rejected):
                    rejected = rejected or files.enter_context(
                        _rejected_writer(job.layout, item, job.metadata)
                    )
                    rejected.write(done.rejected)
                counts.update(done.counts)
                counts.update({ROWS: len(done.rows), REJECTED: len(done.rejected)})
                times += done.times
        shard.finish(
            {name: count for name, count in sorted(counts.items()) if name != ROWS},
            None if rejected is None else rejected.checksum,
        )
    times += WorkTimes(num_rows=counts[ROWS] + counts[REJECTED], phases=reading.seconds)
    rest = time.perf_counter() - started - times.busy_seconds
    return {**counts, **(times + WorkTimes(phases={Phase.WRITE: rest})).as_counts()}


def _process(job: ItemJob, item: WorkItem, window: RowBatch, loaded: object) -> ProcessedRows:
    """Process a window's accepted rows; those that have no answer join the rejected ones."""
    if not len(window.accepted):
        nothing = job.task.schema.empty_table()
        return ProcessedRows(rows=nothing, rejected=window.rejected, counts={})
    done = job.task.process(window.accepted, item.path, loaded)
    return replace(done, rejected=in_row_order([window.rejected, done.rejected]))


def _measured(windows: Iterator[RowBatch], stopwatch: Stopwatch) -> Iterator[RowBatch]:
    """Yield windows, and measure how long each is waited for."""
    while True:
        with stopwatch.measure(Phase.READ):
            window = next(windows, None)
        if window is None:
            return
        yield window


def _windows(reading: ReadOptions, item: WorkItem) -> Iterator[RowBatch]:
    if item.rows.num_rows == 0:
        return
    yield from read_item(item, reading, max_rows=WINDOW_ROWS, max_bytes=WINDOW_BYTES)


def _rejected_writer(layout: OutputLayout, item: WorkItem, metadata: Mapping[str, str]) -> ParquetFileWriter:
    rejected_schema = with_metadata(schema.rejected_schema(), metadata)
    return ParquetFileWriter(layout, layout.rejected(item.shard_name), rejected_schema)
