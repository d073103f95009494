"""How a Beam job is driven, the same for `label-teacher` and `score`: claim, run, watch, verify."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from jobs.console import progress_bar, results, show_decisions
from jobs.runner import RunnerConfig, make_pipeline

if TYPE_CHECKING:
    import apache_beam as beam

    from model.precision import Execution
    from pipeline.layout import OutputLayout
    from pipeline.manifest import Manifest
    from pipeline.plan import Plan, WorkItem
    from pipeline.sources import Inputs
    from pipeline.work import RowTask, ShardJob

_POLL_SECONDS = 0.5


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
        labels: label names, in the order of the vectors.
        execution: device, precision and micro-batches.
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
    labels: tuple[str, ...]
    execution: Execution
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
    from pipeline.layout import OutputLayout
    from pipeline.manifest import JobDescription, begin, describe_inputs, finish

    layout, plan = OutputLayout(job.output), job.inputs.plan()
    description = JobDescription(
        command=job.command, settings=job.settings, inputs=describe_inputs(job.inputs)
    )
    # Made before anything is written: Beam checks the runner and its options here.
    pipeline = make_pipeline(job.runner)
    finished = begin(layout, description, overwrite=job.overwrite)
    show_decisions(results(), job.decisions)
    started = time.monotonic()
    with _watched(layout, plan, finished, description=job.command):
        items = [item for item in plan.items if item.shard_name not in finished]
        busy = _run(job, pipeline, description.fingerprint, items)
    seconds = time.monotonic() - started
    environment = {**_versions(), "device": job.execution.device, **job.facts}
    manifest = finish(
        layout,
        description,
        plan,
        labels=job.labels,
        environment=environment,
        max_rejected=job.max_rejected,
    )
    done_now = [shard for shard in manifest.shards if shard["name"] not in finished]
    rows_now = sum(shard["rows"] + shard["counts"]["rejected"] for shard in done_now)
    return JobOutcome(manifest=manifest, seconds=seconds, busy_seconds=busy, num_rows_now=rows_now)


def _run(job: BeamJob, pipeline: beam.Pipeline, fingerprint: str, items: list[WorkItem]) -> float:
    """Run the pipeline, and return how many seconds workers were busy."""
    import json

    import apache_beam as beam

    from pipeline.schema import SCHEMA_VERSION
    from pipeline.work import ShardJob

    if not items:
        return 0.0
    metadata = {
        "fingerprint": fingerprint,
        "schema_version": str(SCHEMA_VERSION),
        "command": job.command,
        "labels": json.dumps(job.labels),
        "settings": json.dumps(dict(job.settings), sort_keys=True),
        "versions": json.dumps(_versions(), sort_keys=True),
    }
    shard_job = ShardJob(
        task=job.task,
        output=job.output,
        metadata=metadata,
        torch_threads=job.runner.torch_threads,
    )
    _ = pipeline | "WorkItems" >> beam.Create(items) | job.transform(shard_job)
    result = pipeline.run()
    result.wait_until_finish()
    return _busy_seconds(result)


def _busy_seconds(result: Any) -> float:
    from apache_beam.metrics import MetricsFilter

    from pipeline.work import BUSY_MILLISECONDS

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
def _watched(layout: OutputLayout, plan: Plan, finished: set[str], *, description: str) -> Iterator[None]:
    """Show progress while the job runs, by the shards that have appeared: so it works on any runner."""
    rows = {item.shard_name: max(item.rows.num_rows, 0) for item in plan.items}
    started_with = sum(rows[name] for name in finished if name in rows)
    stop = threading.Event()
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

        def watch() -> None:
            while not stop.wait(_POLL_SECONDS):
                update()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            update()
