"""How a corpus job is driven, the same for `label-teacher` and `score`: claim, run, watch, verify."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.runner import PipelineResult

from jobs.driver.directory_lock import lock_directory
from jobs.driver.planned_job import CorpusConfig, PlannedJob, write_plan
from jobs.driver.runner import make_pipeline
from jobs.driver.shard_progress import shard_progress
from jobs.driver.worker_processes import run_in_processes
from jobs.terminal.console import print_settings, stdout_console
from model.errors import FastBertJobsError, ItemError
from model.guarantee.finite_corpus import CorpusSize
from model.messages import one_line
from pipeline.contract.manifest import NOT_FINITE, REJECTED, ROWS, Manifest
from pipeline.contract.plan import WorkItem
from pipeline.contract.storage import check_output_directory
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.item_worker import BUSY_MILLISECONDS
from pipeline.transforms.write_shards import WriteShards

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


def describe_input(job: CorpusJob[Manifest]) -> str:
    """Return one line about the input files of a job, for the user.

    Example: 2 files, 7 shards, 67,349 rows
    """
    plan, num_files = job.plan, len(job.inputs.sources)
    files = f"{num_files:,} file{'s' if num_files > 1 else ''}"
    shards = f"{len(plan.items):,} shard{'s' if len(plan.items) > 1 else ''}"
    rows = "" if plan.num_rows is None else f", {plan.num_rows:,} rows"
    return f"{files}, {shards}{rows}"


def run_corpus_job(
    job: CorpusJob[ManifestType],
    config: CorpusConfig,
    banner: Mapping[str, object],
    *,
    corpus: CorpusSize | None = None,
) -> JobOutcome[ManifestType] | None:
    """Do what the command is asked to: the whole job, its plan, a part of it, or its end.

    Args:
        job: what to run.
        config: of the command: how much of the job, and where it runs.
        banner: what is shown before the job starts.
        corpus: the size of the input, where it was counted.

    Returns:
        The finished job; None where it is only planned, or a part of it done.

    Raises:
        FastBertJobsError: if the output directory is another job's, a worker found a mistake of the user's,
            or a shard does not fit the plan.
    """
    runner, console = config.runner, stdout_console()
    # Made before anything is written: Beam checks the runner and its options here, and file systems get them.
    pipeline = make_pipeline(runner)
    check_output_directory(job.output)
    with lock_directory(job.output, shared=runner.items is not None):
        finished = job.claim()
        if runner.finish:
            job.check_finished(finished)
        print_settings(console, banner)
        if runner.plan_only:
            write_plan(config, PlannedJob(inputs=job.inputs, corpus=corpus))
            console.print(_describe_plan(job, finished), soft_wrap=True)
            return None
        if runner.items is not None:
            job.forget_errors()
        started = time.monotonic()
        with shard_progress(job.layout, job.items, finished, description=job.task.settings.command):
            busy_seconds = _run(pipeline, job, job.pending(finished), num_workers=runner.workers)
        seconds = time.monotonic() - started
        if runner.items is not None:
            job.check_finished(set(job.layout.finished_shards()))
            console.print(_describe_part(job, finished), soft_wrap=True)
            return None
        manifest = job.commit()
    new_shards = [shard for shard in manifest.shards if shard.name not in finished]
    return JobOutcome(
        manifest=manifest,
        seconds=seconds,
        busy_seconds=busy_seconds,
        num_rows_now=sum(shard.rows + shard.counts[REJECTED] for shard in new_shards),
    )


def _describe_plan(job: CorpusJob[Manifest], finished: set[str]) -> str:
    before = f", {len(finished):,} of them done" if finished else ""
    return (
        f"planned: {len(job.items):,} items{before}\n"
        f"next: this command with --items 0:{len(job.items)} in place of --plan-only, or with any parts of "
        "them, in processes that see these paths; then with --finish"
    )


def _describe_part(job: CorpusJob[Manifest], finished: set[str]) -> str:
    before = f", {len(finished):,} of them before" if finished else ""
    return f"{len(job.items):,} of {len(job.plan.items):,} items are done{before}"


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
