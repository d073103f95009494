"""How a Beam job is driven, the same for `label-teacher` and `score`: claim, run, watch, verify."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from jobs.driver.runner import RunnerConfig, make_pipeline
from jobs.terminal.console import print_settings, progress_bar, stdout_console

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.runners.runner import PipelineResult

    from model.errors import FastBertJobsError
    from pipeline.contract.layout import OutputLayout
    from pipeline.contract.manifest import Manifest
    from pipeline.contract.plan import Plan, WorkItem
    from pipeline.reading.inputs import Inputs
    from pipeline.transforms.write_shards import RowTask, ShardJob

_POLL_SECONDS = 0.5
# Listing an object store costs a request, and takes its time.
_REMOTE_POLL_SECONDS = 5.0
# The last line of a worker's traceback; Beam appends the step.
_WORKER_ERROR = re.compile(r"model\.errors\.(\w+): (.*?)(?: \[while running '.*'\])?")


@dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """A finished job.

    Attributes:
        manifest: what was written.
        seconds: how long this run's pipeline took.
        busy_seconds: of it, how long workers were at work items, models being loaded already; summed over
            the workers, and 0 on a runner that has no metrics.
        num_rows_now: rows that this run accounted for; the others were finished before.
    """

    manifest: Manifest
    seconds: float
    busy_seconds: float
    num_rows_now: int

    @property
    def num_rows(self) -> int:
        """Rows in the shards."""
        return self.manifest.counts.get("rows", 0)

    @property
    def num_rejected(self) -> int:
        """Rows that were rejected."""
        return self.manifest.counts.get("rejected", 0)

    def describe_rows(self) -> str:
        """Return one line about rows and speed."""
        text = f"{self.num_rows:,} rows, {self.num_rejected:,} rejected"
        earlier = self.num_rows + self.num_rejected - self.num_rows_now
        if earlier:
            text += f" ({earlier:,} of them finished before)"
        if self.num_rows_now and self.seconds > 0:
            text += f", {self.num_rows_now / self.seconds:,.0f} rows/s"
        return text


@dataclass(frozen=True, kw_only=True)
class BeamJob:
    """All that a Beam job is made of.

    Attributes:
        command: `score` or `label-teacher`.
        output: the output directory.
        overwrite: whether another job's output there may be deleted.
        settings: what changes results besides the inputs; goes into the fingerprint.
        inputs: the input files.
        task: what is done with rows.
        transform: makes the PTransform of a `ShardJob`.
        facts: what else belongs into the manifest and changes no result.
        runner: where the job runs.
        decisions: what is shown before the job starts.
        max_rejected: largest share of rows that may be rejected.
    """

    command: str
    output: str
    overwrite: bool
    settings: Mapping[str, Any]
    inputs: Inputs
    task: RowTask[Any]
    transform: Callable[[ShardJob[Any]], beam.PTransform]
    facts: Mapping[str, Any]
    runner: RunnerConfig
    decisions: Mapping[str, object]
    max_rejected: float = 1.0


def describe_input(inputs: Inputs) -> str:
    """Return one line about the input files, for the user.

    Example: 2 files, 7 shards, 67,349 rows
    """
    plan = inputs.plan()
    files = f"{len(inputs.sources):,} file{'s' if len(inputs.sources) > 1 else ''}"
    shards = f"{len(plan.items):,} shard{'s' if len(plan.items) > 1 else ''}"
    rows = "" if plan.num_rows is None else f", {plan.num_rows:,} rows"
    return f"{files}, {shards}{rows}"


def run_beam_job(job: BeamJob) -> JobOutcome:
    """Run what is not finished yet, verify all of it, and write the manifest.

    Raises:
        OutputError: if the output directory is another job's, or a shard does not fit the plan.
    """
    from pipeline.contract.layout import OutputLayout
    from pipeline.contract.manifest import REJECTED, JobDescription, claim_output, commit

    # Made before anything is written: Beam checks the runner and its options here, and file systems get them.
    pipeline = make_pipeline(job.runner)
    layout, plan = OutputLayout(job.output), job.inputs.plan()
    description = JobDescription(command=job.command, settings=job.settings, inputs=job.inputs.describe())
    finished = claim_output(layout, description, overwrite=job.overwrite, versions=_as_metadata(_versions()))
    print_settings(stdout_console(), job.decisions)
    started = time.monotonic()
    with _progress(layout, plan, finished, description=job.command):
        items = [item for item in plan.items if item.shard_name not in finished]
        result = _run(job, pipeline, description.fingerprint, items)
    seconds = time.monotonic() - started
    manifest = commit(
        layout,
        description,
        plan,
        labels=job.task.labels,
        environment={**_versions(), "device": job.task.execution.device, **job.facts},
        max_rejected=job.max_rejected,
    )
    busy = _busy_seconds(result)
    done_now = [shard for shard in manifest.shards if shard["name"] not in finished]
    rows_now = sum(shard["rows"] + shard["counts"][REJECTED] for shard in done_now)
    return JobOutcome(manifest=manifest, seconds=seconds, busy_seconds=busy, num_rows_now=rows_now)


def _run(
    job: BeamJob, pipeline: beam.Pipeline, fingerprint: str, items: list[WorkItem]
) -> PipelineResult | None:
    """Run the pipeline, and return its result; None where there was nothing to do."""
    import apache_beam as beam

    if not items:
        return None
    transform = job.transform(_shard_job(job, fingerprint))
    _ = pipeline | "WorkItems" >> beam.Create(items) | transform
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except RuntimeError as error:
        if (mistake := error_of_worker(str(error))) is None:
            raise
        raise mistake from error
    return result


def _shard_job(job: BeamJob, fingerprint: str) -> ShardJob[Any]:
    from pipeline.contract.schema import SCHEMA_VERSION
    from pipeline.transforms.write_shards import ShardJob

    metadata = {
        "fingerprint": fingerprint,
        "schema_version": str(SCHEMA_VERSION),
        "command": job.command,
        "labels": json.dumps(job.task.labels),
        "settings": _as_metadata(job.settings),
        "versions": _as_metadata(_versions()),
    }
    return ShardJob(
        task=job.task,
        output=job.output,
        metadata=metadata,
        torch_threads=job.runner.torch_threads,
    )


def error_of_worker(text: str) -> FastBertJobsError | None:
    """Return the user's mistake that a worker process ended with; None if it ended with something else.

    Args:
        text: the worker's traceback; all that comes of an exception from one process to another.
    """
    from model import errors

    last_line = text.rstrip().rpartition("\n")[2]
    found = _WORKER_ERROR.fullmatch(last_line)
    kind = getattr(errors, found[1], None) if found else None
    if not found or not isinstance(kind, type) or not issubclass(kind, errors.FastBertJobsError):
        return None
    return kind(found[2])


def _as_metadata(values: Mapping[str, Any]) -> str:
    """Return values as they stand in the shards' metadata: equal ones are equal text."""
    return json.dumps(dict(values), sort_keys=True)


def _busy_seconds(result: PipelineResult | None) -> float:
    from apache_beam.metrics import MetricsFilter

    from pipeline.transforms.write_shards import BUSY_MILLISECONDS

    if result is None:
        return 0.0
    try:
        counters = result.metrics().query(MetricsFilter().with_name(BUSY_MILLISECONDS))["counters"]
    except NotImplementedError:  # Dask has no metrics
        return 0.0
    return sum(float(counter.result) for counter in counters) / 1000


def _versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on."""
    names = ("fastbert-jobs", "torch", "transformers", "tokenizers", "pyarrow", "apache-beam")
    return {name: version(name) for name in names}


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

        with _every(update, seconds=_REMOTE_POLL_SECONDS if "://" in layout.directory else _POLL_SECONDS):
            yield


@contextmanager
def _every(action: Callable[[], None], *, seconds: float) -> Iterator[None]:
    """Do something every so many seconds, and once more at the end; that it fails is logged and no more."""
    stop = threading.Event()

    def attempt() -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the job is worth more than its progress bar
            logging.getLogger(__name__).warning("progress is unknown: %s", error)

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
