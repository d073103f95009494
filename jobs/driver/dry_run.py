"""What a job would do, told without doing it."""

from collections.abc import Mapping
from dataclasses import replace
from shlex import join

from jobs.configs.runner import RunnerConfig
from jobs.driver.dataflow import is_dataflow
from jobs.driver.runner import make_pipeline, runner_args
from jobs.terminal.console import print_settings, stdout_console
from model.errors import ParameterError
from model.messages import one_line
from pipeline.contract.manifest import Manifest
from pipeline.contract.output import check_claim
from pipeline.contract.storage import check_output_directory
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.write_shards import write_items


def show_dry_run(job: CorpusJob[Manifest], runner: RunnerConfig, banner: Mapping[str, object]) -> None:
    """Check all that can be checked without writing, and say what would be run.

    Args:
        job: what would be run.
        runner: where.
        banner: what would be shown before it.

    Raises:
        FastBertJobsError: what would end the job before its first item.
    """
    check_output_directory(job.output)
    is_replaced = check_claim(job.layout, job.description, overwrite=job.overwrite)
    if is_dataflow(runner.runner):
        _validate(job, runner)
    else:
        make_pipeline(runner)
    found = len(job.layout.finished_shards())
    output = f"{found:,} shards are there, and would be {'deleted' if is_replaced else 'checked and kept'}"
    shown = {**banner, "output": f"{job.output}, {output if found else 'nothing is there yet'}"}
    if not runner.is_in_process:
        shown["Beam options"] = join(runner_args(runner))
    print_settings(stdout_console(), shown)
    stdout_console().print("dry run: nothing was written or submitted")


def _validate(job: CorpusJob[Manifest], runner: RunnerConfig) -> None:
    """Let Beam make the request that it would send to Dataflow.

    Raises:
        ParameterError: if it finds an option wrong.
    """
    pipeline = make_pipeline(replace(runner, beam_args=(*runner.beam_args, "--dry_run=True")))
    write_items(pipeline, job, job.plan.items)
    try:
        pipeline.run()
    except Exception as error:  # of whatever kind Beam likes
        raise ParameterError(f"Dataflow would refuse the job: {one_line(error)}") from error
