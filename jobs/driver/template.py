"""A job of Dataflow that is written down now and started by somebody else, as Flex Templates do it."""

from collections.abc import Mapping

from jobs.configs.runner import RunnerConfig
from jobs.driver.dataflow import template_location
from jobs.driver.runner import make_pipeline
from jobs.terminal.console import print_settings, stdout_console
from model.errors import ParameterError
from model.messages import one_line
from pipeline.contract.manifest import Manifest
from pipeline.contract.storage import check_output_directory
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.write_shards import RunCorpusJob


def write_template(job: CorpusJob[Manifest], runner: RunnerConfig, banner: Mapping[str, object]) -> None:
    """Claim the output, and write a job that verifies its shards and writes the manifest itself.

    Nobody waits for it here: what fails, fails there.

    Args:
        job: what is to be run.
        runner: Dataflow, and where the job is written to.
        banner: what is shown before.

    Raises:
        FastBertJobsError: if the output directory is another job's, or Beam finds an option wrong.
    """
    pipeline = make_pipeline(runner)
    check_output_directory(job.output)
    print_settings(stdout_console(), banner)
    _ = pipeline | RunCorpusJob(job)
    try:
        pipeline.run()
    except Exception as error:  # of whatever kind Beam likes
        raise ParameterError(f"the template cannot be written: {one_line(error)}") from error
    stdout_console().print(
        f"wrote {template_location(runner)}; the job that is made of it verifies its shards, and writes the "
        "manifest",
        soft_wrap=True,
    )
