"""How a corpus job is driven, the same for `label-teacher` and `score`: claim, run, watch, verify."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.runner import PipelineResult

from jobs.configs.runner import RunnerConfig
from jobs.driver.dataflow import as_worker_error, describe_job
from jobs.driver.directory_lock import lock_directory
from jobs.driver.runner import make_pipeline
from jobs.driver.worker_processes import run_in_processes
from jobs.terminal.console import print_settings, progress_bar, stdout_console
from model.errors import FastBertJobsError, ItemError
from model.messages import one_line
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import NOT_FINITE, REJECTED, ROWS, Manifest
from pipeline.contract.plan import Plan, WorkItem
from pipeline.contract.storage import check_output_directory, is_local
from pipeline.reading.inputs import Inputs
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.item_worker import BUSY_MILLISECONDS
from pipeline.transforms.write_shards import WriteShards

_POLL_SECONDS = 0.5
# Listing an object store costs a request, and takes its time.
_REMOTE_POLL_SECONDS = 5.0
_LOGGER = logging.getLogger(__name__)

ManifestType = TypeVar("ManifestType", bound=Manifest)


@dataclass(frozen=True, kw_only=True)
class JobOutcome(Generic[ManifestType]):
    """A finished job.

    Attributes:
        manifest: what was written.
        seconds: how long this run's pipeline took.
        busy_seconds: of it, how long workers were at work items, models being loaded already; summed over
            the workers, and 0 where the runner does not tell.
        num_rows_now: rows that this run accounted for; the others were finished before.
    """

    manifest: ManifestType
    seconds: float
    busy_seconds: float
    num_rows_now: int

    @property
    def num_rows(self) -> int:
        """Rows in the shards."""
        return self.manifest.counts.get(ROWS, 0)

    @property
    def num_rejected(self) -> int:
        """Rows that were rejected."""
        return self.manifest.counts.get(REJECTED, 0)

    def describe_rows(self) -> str:
        """Return one line about rows and speed."""
        text = f"{self.num_rows:,} rows, {self.num_rejected:,} rejected"
        if no_numbers := self.manifest.counts.get(NOT_FINITE, 0):
            text += f", {no_numbers:,} of them since the model's answer is NaN or infinite"
        earlier = self.num_rows + self.num_rejected - self.num_rows_now
        if earlier:
            text += f" ({earlier:,} of them finished before)"
        if self.num_rows_now and self.seconds > 0:
            text += f", {self.num_rows_now / self.seconds:,.0f} rows/s"
        return text


def describe_input(inputs: Inputs) -> str:
    """Return one line about the input files, for the user.

    Example: 2 files, 7 shards, 67,349 rows
    """
    plan = inputs.plan()
    files = f"{len(inputs.sources):,} file{'s' if len(inputs.sources) > 1 else ''}"
    shards = f"{len(plan.items):,} shard{'s' if len(plan.items) > 1 else ''}"
    rows = "" if plan.num_rows is None else f", {plan.num_rows:,} rows"
    return f"{files}, {shards}{rows}"


def run_corpus_job(
    job: CorpusJob[ManifestType], runner: RunnerConfig, banner: Mapping[str, object]
) -> JobOutcome[ManifestType]:
    """Run what is not finished yet, verify all of it, and write the manifest.

    Args:
        job: what to run.
        runner: where.
        banner: what is shown before the job starts.

    Raises:
        FastBertJobsError: if the output directory is another job's, a worker found a mistake of the user's,
            or a shard does not fit the plan.
    """
    # Made before anything is written: Beam checks the runner and its options here, and file systems get them.
    pipeline = make_pipeline(runner)
    check_output_directory(job.output)
    with lock_directory(job.output):
        finished = job.claim()
        print_settings(stdout_console(), banner)
        started = time.monotonic()
        with _progress(job.layout, job.plan, finished, description=job.task.settings.command):
            busy_seconds = _run(pipeline, job, job.pending(finished), num_workers=runner.workers)
        seconds = time.monotonic() - started
        manifest = job.commit()
    new_shards = [shard for shard in manifest.shards if shard.name not in finished]
    return JobOutcome(
        manifest=manifest,
        seconds=seconds,
        busy_seconds=busy_seconds,
        num_rows_now=sum(shard.rows + shard.counts[REJECTED] for shard in new_shards),
    )


def _run(
    pipeline: beam.Pipeline, job: CorpusJob[ManifestType], items: Sequence[WorkItem], *, num_workers: int
) -> float:
    """Do the work items, and return how long workers were at them.

    Raises:
        FastBertJobsError: if the runner fails, or a worker that cannot even write what went wrong.
        KeyboardInterrupt: if the user interrupted it, of which Beam makes another error.
    """
    if not items:
        return 0.0
    if num_workers > 1:
        return run_in_processes(job, items, num_workers)
    _ = pipeline | "WorkItems" >> beam.Create(items) | WriteShards(job)
    try:
        result = pipeline.run()
        if where := describe_job(result):
            stdout_console().print(where, soft_wrap=True)
        result.wait_until_finish()
    except Exception as error:
        # Runners raise what they like; the last of the chain is where it began.
        cause = _first_cause(error)
        raise (_as_one_line(cause) if isinstance(cause, Exception) else cause) from error
    return _busy_seconds(result)


def _first_cause(error: BaseException) -> BaseException:
    while found := error.__cause__ or error.__context__:
        error = found
    return error


def _as_one_line(cause: Exception) -> FastBertJobsError:
    if isinstance(cause, FastBertJobsError):
        return cause
    if known := as_worker_error(cause):
        return known
    if isinstance(cause, OSError):
        return ItemError(f"{one_line(cause)}; run the same command again when it is mended")
    return ItemError(f"{type(cause).__name__}: {one_line(cause)}")


def _busy_seconds(result: PipelineResult) -> float:
    try:
        counters = result.metrics().query(MetricsFilter().with_name(BUSY_MILLISECONDS))["counters"]
        return sum(float(counter.result) for counter in counters) / 1000
    except Exception as error:  # noqa: BLE001 - the job is finished, and worth more than how long it took
        _LOGGER.warning("the runner does not tell how long workers took: %s", error)
        return 0.0


@contextmanager
def _progress(layout: OutputLayout, plan: Plan, finished: set[str], *, description: str) -> Iterator[None]:
    """Show progress while the job runs, by the shards that have appeared: so it works on any runner."""
    rows = {item.shard_name: max(item.rows.num_rows, 0) for item in plan.items}
    started_with = sum(rows[name] for name in finished if name in rows)
    with progress_bar(rate="rate") as progress:
        # The size of compressed files is known only when they are read: then no total, and no ETA.
        total = plan.num_rows
        bar = progress.add_task(description, total=total, completed=started_with, rate="")
        started = time.monotonic()

        def update() -> None:
            done = sum(rows.get(name, 0) for name in layout.finished_shards())
            rate = (done - started_with) / max(time.monotonic() - started, 1e-3)
            text = f"{rate:,.0f} rows/s" if done > started_with else ""
            progress.update(bar, completed=done, rate=text)

        with _every(_POLL_SECONDS if is_local(layout.directory) else _REMOTE_POLL_SECONDS, update):
            yield


@contextmanager
def _every(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Do something every so many seconds, and once more at the end; that it fails is logged and no more."""
    stop = threading.Event()

    def attempt() -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the job is worth more than its progress bar
            _LOGGER.warning("progress is unknown: %s", error)

    def repeat() -> None:
        while not stop.wait(seconds):
            attempt()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        attempt()
