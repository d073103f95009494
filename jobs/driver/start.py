"""A corpus job begun: run here and waited for, told in a dry run, or written down for others to start."""

from collections.abc import Mapping

from jobs.configs.runner import RunnerConfig
from jobs.driver.beam_driver import JobOutcome, ManifestType, run_corpus_job
from jobs.driver.dataflow import template_location
from jobs.driver.dry_run import show_dry_run
from jobs.driver.template import write_template
from pipeline.transforms.corpus_job import CorpusJob


def start(
    job: CorpusJob[ManifestType], runner: RunnerConfig, banner: Mapping[str, object], *, is_dry: bool
) -> JobOutcome[ManifestType] | None:
    """Do what is asked for with a job, and return what came of it; None where it was not run.

    Args:
        job: what to run.
        runner: where.
        banner: what is shown before the job starts.
        is_dry: whether nothing is to be written.

    Raises:
        FastBertJobsError: what `run_corpus_job`, `show_dry_run` and `write_template` raise.
    """
    if is_dry:
        show_dry_run(job, runner, banner)
        return None
    if template_location(runner):
        write_template(job, runner, banner)
        return None
    return run_corpus_job(job, runner, banner)
