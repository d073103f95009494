import os
from pathlib import Path

import apache_beam as beam
import pytest
import torch
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner

from jobs.configs.runner import RunnerConfig
from jobs.driver.runner import check_beam_args, check_runner, make_pipeline, torch_threads
from model.errors import ParameterError


def options_of(config: RunnerConfig) -> PipelineOptions:
    """The options that a job's pipeline has."""
    return make_pipeline(config)._options


@pytest.mark.parametrize("name", ["DirectRunner", "FnApiRunner"])
def test_in_process_nothing_is_downloaded(name: str):
    pipeline = make_pipeline(RunnerConfig(runner=name))
    assert isinstance(pipeline.runner, fn_runner.FnApiRunner)


def test_a_pipeline_runs(tmp_path: Path):
    with make_pipeline(RunnerConfig()) as pipeline:
        _ = pipeline | beam.Create(["done"]) | beam.Map((tmp_path / "file").write_text)
    assert (tmp_path / "file").read_text() == "done"


def test_beams_own_options_reach_it_and_the_main_module_is_not_saved():
    options = options_of(RunnerConfig(beam_args=("--job_name=mine",)))
    assert options.get_all_options()["job_name"] == "mine"
    assert options.view_as(SetupOptions).save_main_session is False


@pytest.mark.parametrize(
    "args",
    [
        ("--direct_running_mode=multi_processing",),
        ("--direct_running_mode", "multi_threading"),
        ("--direct_num_workers=2",),
        ("--direct_num_workers=0",),
    ],
)
@pytest.mark.parametrize("runner", ["DirectRunner", "FnApiRunner"])
def test_what_makes_beam_listen_on_all_interfaces_is_refused(runner: str, args: tuple[str, ...]):
    with pytest.raises(ParameterError) as error:
        make_pipeline(RunnerConfig(runner=runner, beam_args=args))
    assert str(error.value).endswith(
        "listen on all interfaces of this machine: leave them out, and give `workers`"
    )


@pytest.mark.parametrize(
    ("threads", "workers", "expected"), [(None, 1, None), (3, 1, 3), (3, 4, 3), (None, 2, 4), (None, 99, 1)]
)
def test_cores_are_shared_by_the_workers(
    monkeypatch: pytest.MonkeyPatch, threads: int | None, workers: int, expected: int | None
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert torch_threads(RunnerConfig(threads=threads, workers=workers)) == expected


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--direct_num_workers=2"],
        ["--direct_num_workers", "2"],
        ["--save_main_session"],
        ["--no_save_main_session"],
        ["--job_endpoint=localhost:1"],
        ["--environment_type=LOOPBACK"],
        ["--project=p", "--region=r", "--temp_location=gs://b/t"],
        ["--dataflow_service_options=worker_accelerator=x", "--experiments=use_runner_v2"],
    ],
)
def test_what_beam_knows_is_passed(args: list[str]):
    check_beam_args(args, [])


def test_options_of_the_dask_runner_are_known():
    dask = pytest.importorskip("dask")
    assert dask
    check_beam_args(["--dask_client_address=tcp://localhost:1", "--dask_partition_size=1"], [])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--speeds", "1"], "there is no option --speeds; did you mean --speed?"),
        (["--regio=x"], "there is no option --regio; did you mean --region?"),
        (["--direct_num_workers=2", "stray"], "there is no argument stray"),
        (["--zzqqxx"], "there is no option --zzqqxx"),
    ],
)
def test_what_nobody_knows_is_refused(args: list[str], message: str):
    with pytest.raises(ParameterError) as error:
        check_beam_args(args, ["--speed", "--input"])
    assert str(error.value) == message


def test_a_value_that_beam_does_not_allow_is_refused():
    with pytest.raises(ParameterError, match="direct_running_mode"):
        check_beam_args(["--direct_running_mode=sideways"], [])
    with pytest.raises(ParameterError, match="direct_num_workers"):
        check_beam_args(["--direct_num_workers=many"], [])


def test_an_option_may_not_be_shortened():
    with pytest.raises(ParameterError, match="no option --direct_num_w"):
        check_beam_args(["--direct_num_w=2"], [])


def test_file_systems_have_the_options_before_anything_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    check_runner(RunnerConfig(beam_args=("--s3_endpoint_url=http://localhost:1",)), [])
    assert FileSystems._pipeline_options.get_all_options()["s3_endpoint_url"] == "http://localhost:1"


@pytest.mark.parametrize("name", StandardOptions.KNOWN_RUNNER_NAMES)
def test_every_runner_that_beam_knows_may_be_named(name: str):
    check_runner(RunnerConfig(runner=name), [])


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        ("SparkRuner", "`runner` SparkRuner is not known to Beam; did you mean SparkRunner?"),
        ("DaskRuner", "`runner` DaskRuner is not known to Beam; did you mean DaskRunner?"),
        ("zzz", "`runner` zzz is not known to Beam; known are "),
    ],
)
def test_a_runner_that_beam_does_not_know_is_refused(runner: str, message: str):
    for refuse in (lambda config: check_runner(config, []), make_pipeline):
        with pytest.raises(ParameterError) as error:
            refuse(RunnerConfig(runner=runner))
        assert str(error.value).startswith(message)


def test_a_runner_whose_library_is_missing_is_one_line():
    with pytest.raises(ParameterError) as error:
        make_pipeline(RunnerConfig(runner="nowhere.to.be.found.Runner"))
    assert "\n" not in str(error.value)
    assert "nowhere.to.be.found.Runner" in str(error.value)


def test_the_environment_is_left_as_it_was():
    before = dict(os.environ)
    make_pipeline(RunnerConfig(workers=2))
    assert dict(os.environ) == before
