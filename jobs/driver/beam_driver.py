"""How a corpus job is driven, the same for `label-teacher` and `score`: claim, run, watch, verify."""

import time
from collections.abc import Mapping, Sequence

import apache_beam as beam

from jobs.driver.beam_run import run_on_beam
from jobs.driver.dataflow import template_location
from jobs.driver.directory_lock import lock_directory
from jobs.driver.dry_run import show_dry_run
from jobs.driver.job_outcome import JobOutcome, ManifestType
from jobs.driver.planned_job import CorpusConfig, write_plan
from jobs.driver.runner import make_pipeline
from jobs.driver.shard_progress import shard_progress
from jobs.driver.template import write_template
from jobs.driver.worker_processes import run_in_processes
from jobs.terminal.console import print_settings, stdout_console
from model.guarantee.finite_corpus import CorpusSize
from pipeline.contract.item_ranges import ItemRanges
from pipeline.contract.manifest import REJECTED, Manifest
from pipeline.contract.plan import WorkItem
from pipeline.contract.storage import check_output_directory
from pipeline.contract.work_times import RunTimes, WorkTimes, write_run_times
from pipeline.transforms.corpus_job import CorpusJob


def run_corpus_job(
    job: CorpusJob[ManifestType],
    config: CorpusConfig,
    banner: Mapping[str, object],
    *,
    corpus: CorpusSize | None = None,
) -> JobOutcome[ManifestType] | None:
    """Do what the command is asked to: the whole job, its plan, a part of it, its end, or a dry run.

    Args:
        job: what to run.
        config: of the command: how much of the job, and where it runs.
        banner: what is shown before the job starts.
        corpus: the size of the input, where it was counted.

    Returns:
        The finished job; None where there is none yet.

    Raises:
        FastBertJobsError: if the output directory is another job's, a worker found a mistake of the user's,
            or a shard does not fit the plan.
    """
    runner, console = config.runner, stdout_console()
    if runner.dry_run:
        show_dry_run(job, runner, banner)
        return None
    if template_location(runner):
        write_template(job, runner, banner)
        return None
    # Made before anything is written: Beam checks the runner and its options here, and file systems get them.
    pipeline = make_pipeline(runner)
    check_output_directory(job.output)
    with lock_directory(job.output, shared=runner.items is not None):
        finished = job.claim()
        if runner.finish:
            job.check_finished(finished)
        print_settings(console, banner)
        if runner.plan_only:
            write_plan(config, job.inputs, corpus)
            console.print(_describe_plan(job, finished), soft_wrap=True)
            return None
        if runner.items is not None:
            job.forget_errors()
        started = time.monotonic()
        with shard_progress(job.layout, job.items, finished, description=job.task.settings.command):
            work = _run(pipeline, job, job.pending(finished), num_workers=runner.workers)
        seconds = time.monotonic() - started
        _write_times(job, work, seconds)
        if runner.items is not None:
            job.check_finished(set(job.layout.finished_shards()))
            console.print(_describe_part(job, finished), soft_wrap=True)
            return None
        manifest = job.commit()
    new_shards = [shard for shard in manifest.shards if shard.name not in finished]
    return JobOutcome(
        manifest=manifest,
        seconds=seconds,
        busy_seconds=work.busy_seconds,
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
    if not job.items:
        return f"nothing to do: there are {len(job.plan.items):,} items, and none of them is of this part"
    before = f", {len(finished):,} of them before" if finished else ""
    numbers = ItemRanges.of(item.index for item in job.items)
    return f"done: items {numbers} of {len(job.plan.items):,}{before}"


def _run(
    pipeline: beam.Pipeline, job: CorpusJob[ManifestType], items: Sequence[WorkItem], *, num_workers: int
) -> WorkTimes:
    """Do the work items, and return what they took.

    Raises:
        FastBertJobsError: if the runner fails, or a worker that cannot even write what went wrong.
    """
    if not items:
        return WorkTimes()
    if num_workers > 1:
        return run_in_processes(job, items, num_workers)
    return run_on_beam(pipeline, job, items)


def _write_times(job: CorpusJob[Manifest], work: WorkTimes, seconds: float) -> None:
    """Write down what a run took, where it did anything that its runner tells of."""
    if work.phases:
        run = RunTimes(fingerprint=job.description.fingerprint, wall_seconds=seconds, work=work)
        write_run_times(job.layout, run)
