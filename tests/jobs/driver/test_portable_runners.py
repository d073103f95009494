"""Jobs through Beam's own job service, as Flink's and Spark's are sent, with a worker in another process."""

from pathlib import Path

import pytest

from jobs.configs.runner import RunnerConfig
from jobs.driver.runner import make_pipeline
from model.errors import ParameterError
from tests.clusters import worker_pool
from tests.job_fixtures import CommandLine
from tests.jobs.driver.elsewhere import assert_scores_as_here


def test_a_model_scores_there_as_here(command: CommandLine, fastbert: Path, tmp_path: Path):
    with worker_pool() as address:
        there = ("--runner", "PortableRunner", "--job_endpoint", "embed", "--environment_type", "EXTERNAL")
        assert_scores_as_here(command, fastbert, tmp_path, *there, "--environment_config", address)


@pytest.mark.parametrize(("runner", "option"), [("FlinkRunner", "flink"), ("SparkRunner", "spark")])
def test_a_job_server_that_is_not_there_is_one_line(tmp_path: Path, runner: str, option: str):
    jar = tmp_path / "missing.jar"
    with pytest.raises(ParameterError) as error:
        make_pipeline(RunnerConfig(runner=runner, beam_args=(f"--{option}_job_server_jar={jar}",)))
    assert str(error.value) == f"--{option}_job_server_jar: there is no file {str(jar)!r}"
