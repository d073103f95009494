"""Dataflow: what is added to a user's options, and what is refused before anything is written."""

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from os import environ
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    TestOptions,
    WorkerOptions,
)
from apache_beam.runners.runner import PipelineResult

from jobs.configs.runner import RunnerConfig
from model.errors import EnvironmentMismatchError, FastBertJobsError, ParameterError
from model.messages import one_line
from pipeline.contract.storage import is_local, match_files
from pipeline.contract.worker_environment import python_version

# Set in our container image: models that lie there are seen by the workers under the same name.
IMAGE_MODELS = "FASTBERT_JOBS_IMAGE_MODELS"

_RUNNERS = ("DataflowRunner", "TestDataflowRunner")
_ONE_PROCESS = "no_use_multiple_sdk_containers"
# What Beam takes; of anything else it would look for a bucket of its own.
_BUCKET_DIRECTORY = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9]/[^\r\n]*")
# Beam's own images say of which Python and Beam they are.
_BEAM_IMAGE = re.compile(r"(?:^|/)beam_python(?P<python>[\d.]+)_sdk:(?P<beam>\d+\.\d+\.\d+)$")
_MISSING_PACKAGE = re.compile(r"No module named '(?:jobs|pipeline|model)[.']")


def is_dataflow(runner: str) -> bool:
    """Return whether a runner, named or with its path, is Dataflow's."""
    return runner.rpartition(".")[2] in _RUNNERS


def dataflow_args(beam_args: Sequence[str]) -> tuple[str, ...]:
    """Return a user's Beam options and the defaults that they leave open; what the user gave stays.

    Nothing of the main module is pickled. A worker is one process that does one item at a time, so that one
    copy of the model serves all of its cores; nothing is downloaded to be sent to it.

    >>> dataflow_args(["--number_of_worker_harness_threads=4", "--sdk_location=container"])[2:]
    ('--no_save_main_session', '--experiments=no_use_multiple_sdk_containers')
    """
    options = PipelineOptions(list(beam_args))
    debug = options.view_as(DebugOptions)
    experiments = debug.experiments or []
    defaults = {
        "--no_save_main_session": options.view_as(SetupOptions).save_main_session is None,
        f"--experiments={_ONE_PROCESS}": not any(each.endswith(_ONE_PROCESS[3:]) for each in experiments),
        "--number_of_worker_harness_threads=1": debug.number_of_worker_harness_threads is None,
        "--sdk_location=container": options.view_as(SetupOptions).sdk_location == "default",
    }
    return (*beam_args, *(option for option, is_open in defaults.items() if is_open))


def check_dataflow(
    runner: RunnerConfig, *, inputs: Mapping[str, Iterable[str]], outputs: Mapping[str, str], model: str
) -> None:
    """Refuse what Dataflow's workers could not do; nothing is said of other runners.

    Args:
        runner: where the job is to run.
        inputs: what workers read, by parameter.
        outputs: what they write, likewise.
        model: directory, URL or hub name of what they load.

    Raises:
        ParameterError: naming the option that is missing, or what workers cannot see.
    """
    if not is_dataflow(runner.runner):
        return
    _check_google_libraries()
    options = PipelineOptions(list(runner.beam_args))
    _check_place(options)
    _check_package(options)
    _check_reach(inputs, outputs, model)
    _check_credentials(options)
    _check_buckets(options)


def _check_reach(inputs: Mapping[str, Iterable[str]], outputs: Mapping[str, str], model: str) -> None:
    """Refuse what lies on this machine."""
    read = [(name, path) for name, paths in inputs.items() for path in paths]
    for name, path in (*read, *outputs.items()):
        if is_local(path):
            raise ParameterError(
                f"`{name}` {path!r} is on this machine, where workers of Dataflow cannot see it; "
                "copy it to a bucket, and give gs://BUCKET/..."
            )
    if Path(model).exists() and not _is_in_image(model):
        raise ParameterError(
            f"{model!r} is on this machine, where workers of Dataflow cannot see it; copy it to a bucket, "
            "and give gs://BUCKET/..., or a name on the hub"
        )


def _check_credentials(options: PipelineOptions) -> None:
    """Refuse to ask Google without an account: Beam would look for one for a while, and go on without."""
    cloud = options.view_as(GoogleCloudOptions)
    if cloud.no_auth:
        return
    from google import auth

    try:
        auth.default(scopes=cloud.gcp_oauth_scopes)
    except auth.exceptions.GoogleAuthError as error:
        raise ParameterError(
            f"`runner` DataflowRunner needs an account of Google's: {one_line(error)}; run "
            "`gcloud auth application-default login`"
        ) from error


def _check_buckets(options: PipelineOptions) -> None:
    """Refuse buckets that are not there: Beam would ask for them again and again, for many minutes."""
    cloud = options.view_as(GoogleCloudOptions)
    for name in ("temp_location", "staging_location"):
        if value := getattr(cloud, name):
            try:
                # What hardly any name begins with: all that is asked is whether one may ask.
                match_files(f"{value.rstrip('/')}/__*")
            except OSError as error:
                raise ParameterError(
                    f"--{name} {value!r} cannot be used: {one_line(error)}; is there such a bucket, and may "
                    "you read it?"
                ) from error


def _is_in_image(model: str) -> bool:
    directory = environ.get(IMAGE_MODELS)
    return bool(directory) and Path(model).resolve().is_relative_to(Path(str(directory)).resolve())


def _check_google_libraries() -> None:
    try:
        # It is there only with the extra.
        import_module("apache_beam.runners.dataflow.internal.apiclient")
    except ImportError as error:
        raise ParameterError(
            "`runner` DataflowRunner needs Google's libraries: install this package with its extra gcp, "
            "pip install -c constraints.txt '.[gcp]'"
        ) from error


def _check_place(options: PipelineOptions) -> None:
    """Refuse options that do not say where: project, region, bucket."""
    cloud = options.view_as(GoogleCloudOptions)
    needed = {"--project": cloud.project, "--region": cloud.region, "--temp_location": cloud.temp_location}
    if missing := [name for name, value in needed.items() if not value]:
        raise ParameterError(
            f"`runner` DataflowRunner needs {' and '.join(missing)}: give --project PROJECT --region REGION "
            "--temp_location gs://BUCKET/DIRECTORY"
        )
    for name in ("temp_location", "staging_location"):
        value = getattr(cloud, name)
        if value is not None and not _BUCKET_DIRECTORY.fullmatch(value):
            raise ParameterError(
                f"--{name} {value!r} is no gs://BUCKET/DIRECTORY, where a bucket's name is of three or more "
                "lower-case letters, digits, -, _ and ."
            )
    if options.view_as(TestOptions).dry_run:
        raise ParameterError("--dry_run is Beam's, of a pipeline alone: give `dry_run`")


def _check_package(options: PipelineOptions) -> None:
    """Refuse workers that would lack this package, or have another Python or Beam, where that is known."""
    setup, worker = options.view_as(SetupOptions), options.view_as(WorkerOptions)
    image = worker.sdk_container_image or worker.worker_harness_container_image
    brings_package = setup.setup_file or setup.extra_packages or setup.requirements_file
    official = _BEAM_IMAGE.search(image or "")
    if not brings_package and (image is None or official):
        which = "give" if image is None else f"{image} has Beam alone; give"
        raise ParameterError(
            f"workers would lack fastbert-jobs: {which} --sdk_container_image IMAGE, made with "
            "containers/Dockerfile, or its wheel, --extra_package WHEEL"
        )
    if official and (official["python"], official["beam"]) != (python_version(), beam.__version__):
        raise ParameterError(
            f"--sdk_container_image {image} is of Python {official['python']} and Beam {official['beam']}; "
            f"here are Python {python_version()} and Beam {beam.__version__}: make them equal"
        )


def template_location(runner: RunnerConfig) -> str | None:
    """Return where a job is to be written to be started later; None where it is to be started now."""
    if not is_dataflow(runner.runner):
        return None
    location = PipelineOptions(list(runner.beam_args)).view_as(GoogleCloudOptions).template_location
    return None if location is None else str(location)


def describe_job(result: PipelineResult) -> str | None:
    """Return where to watch a job that was submitted, and how to end it; None where it is not Dataflow's."""
    if not is_dataflow(type(result).__name__.replace("PipelineResult", "Runner")):
        return None
    cloud, job = result._options.view_as(GoogleCloudOptions), result.job_id()
    return (
        f"https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{job}?project={cloud.project}; "
        f"to end it: gcloud dataflow jobs cancel {job} --region {cloud.region}"
    )


def as_worker_error(error: Exception) -> FastBertJobsError | None:
    """Return what a failed job's error means where we know it; None where we do not."""
    if _MISSING_PACKAGE.search(one_line(error)):
        return EnvironmentMismatchError(
            "the workers lack fastbert-jobs, or have another version of it: make --sdk_container_image with "
            "containers/Dockerfile from this version, or give its wheel, --extra_package WHEEL"
        )
    return None
