import json
import re
import sys
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from jobs.configs.runner import RunnerConfig
from jobs.driver.dataflow import (
    IMAGE_MODELS,
    as_worker_error,
    check_dataflow,
    dataflow_args,
    describe_job,
    is_dataflow,
)
from model.errors import EnvironmentMismatchError, ParameterError
from pipeline.contract.worker_environment import python_version
from tests.job_fixtures import CommandLine, make_texts, snapshot, write_tsv
from tests.jobs.driver.dataflow_service import BUCKET, IMAGE, JOB_ID, Bucket, Dataflow, bucket, dataflow

__all__ = ["bucket", "dataflow"]

TEXTS = make_texts(60)
PLACE = ["--project=my-project", "--region=europe-west4", f"--temp_location=gs://{BUCKET}/tmp"]
GIVEN = [*PLACE, "--no_auth", f"--sdk_container_image={IMAGE}"]
ADDED = [
    "--no_save_main_session", "--experiments=no_use_multiple_sdk_containers",
    "--number_of_worker_harness_threads=1", "--sdk_location=container",
]  # fmt: skip
OFFICIAL = f"apache/beam_python{python_version()}_sdk:{beam.__version__}"


@pytest.fixture
def rows(bucket: Bucket) -> str:
    """URL of sixty rows, two of them empty."""
    return bucket.write("in/rows.tsv", "\n".join(["text", *TEXTS[:40], " ", *TEXTS[40:], " "]).encode())


@pytest.fixture
def model(bucket: Bucket, fastbert: Path) -> str:
    """URL of a FastBERT."""
    return bucket.upload(fastbert, "models/fastbert")


def score(rows: str, model: str) -> list[str]:
    return [
        "score", "--input", rows, "--text-column", "text", "--model", model, "--speed", "0.7",
        "--rows-per-shard", "20", "--precision", "fp32",
    ]  # fmt: skip


def on(service: Dataflow) -> list[str]:
    """The options that send a job to the service of these tests."""
    return ["--runner", "DataflowRunner", *GIVEN, f"--dataflow_endpoint={service.endpoint}"]


def test_dataflow_is_told_by_its_name():
    names = ["DataflowRunner", "apache_beam.runners.dataflow.dataflow_runner.DataflowRunner"]
    assert all(map(is_dataflow, [*names, "TestDataflowRunner"]))
    assert not any(map(is_dataflow, ["DirectRunner", "FlinkRunner", "a.b.DaskRunner"]))


@pytest.mark.parametrize(
    ("given", "left_open"),
    [
        ([], ADDED),
        (["--machine_type=n2-standard-8"], ADDED),
        (["--save_main_session"], ADDED[1:]),
        (["--experiments=use_multiple_sdk_containers,other"], [ADDED[0], *ADDED[2:]]),
        (["--experiments=other", "--experiments=no_use_multiple_sdk_containers"], [ADDED[0], *ADDED[2:]]),
        (["--experiments=other"], ADDED),
        (["--number_of_worker_harness_threads", "4"], [*ADDED[:2], ADDED[3]]),
        (["--sdk_location=beam.tar.gz"], ADDED[:3]),
    ],
)
def test_what_the_user_says_stays_and_defaults_fill_the_rest(given: list[str], left_open: list[str]):
    assert dataflow_args(given) == (*given, *left_open)


def test_a_job_is_submitted_run_from_what_was_staged_and_equals_a_local_one(
    bucket: Bucket, dataflow: Dataflow, command: CommandLine, rows: str, model: str
):
    command(*score(rows, model), "--output", f"{bucket.url}/local")
    gpu = "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"
    more = ["--machine_type=g2-standard-8", "--max_num_workers=4", gpu, "--job_name=scores-1"]
    out = command(*score(rows, model), "--output", f"{bucket.url}/flow", *on(dataflow), *more)
    assert dataflow.failures == []
    link = f"https://console.cloud.google.com/dataflow/jobs/europe-west4/{JOB_ID}?project=my-project; to end"
    assert link in out
    assert "60 rows, 2 rejected" in out
    local = bucket.files("local")
    assert bucket.files("flow") == local
    assert len(local) == 2 + 4 + 2  # job and manifest, shards, rejected rows

    request = dataflow.request
    environment, (pool,) = request["environment"], request["environment"]["workerPools"]
    assert request["name"] == "scores-1"
    assert environment["version"]["job_type"] == "FNAPI_BATCH"
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert "use_multiple_sdk_containers" not in environment["experiments"]
    assert environment["serviceOptions"] == [gpu.partition("=")[2]]
    assert (pool["machineType"], pool["numThreadsPerWorker"]) == ("g2-standard-8", 1)
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 4
    # One container an environment: a hint on one step would make a second one.
    (container,) = pool["sdkHarnessContainerImages"]
    assert container["containerImage"] == IMAGE
    assert pool.get("packages", []) == []
    assert dataflow.options["save_main_session"] is False
    assert [name.rpartition("/")[2] for name in bucket.files("tmp")] == ["pipeline.pb"]


def test_a_killed_job_goes_on_there(
    bucket: Bucket, dataflow: Dataflow, command: CommandLine, rows: str, model: str
):
    output = ["--output", f"{bucket.url}/out"]
    command(*score(rows, model), *output)
    whole = bucket.files("out")
    for name in ("_MANIFEST.json", "part-00001-of-00004.parquet"):
        bucket.storage.delete_file(BUCKET, f"out/{name}")
    out = command(*score(rows, model), *output, *on(dataflow))
    assert "(42 of them finished before)" in out
    assert bucket.files("out") == whole


def test_a_teacher_labels_there(
    bucket: Bucket, dataflow: Dataflow, command: CommandLine, rows: str, teacher: Path
):
    url = bucket.upload(teacher, "models/teacher")
    label = [
        "label-teacher", "--input", rows, "--text-column", "text", "--teacher", url,
        "--rows-per-shard", "20", "--precision", "fp32", "--teacher-training-input", rows,
    ]  # fmt: skip
    command(*label, "--output", f"{bucket.url}/local")
    command(*label, "--output", f"{bucket.url}/flow", *on(dataflow))
    assert bucket.files("flow") == bucket.files("local")


def test_a_wheel_is_staged(
    bucket: Bucket, dataflow: Dataflow, command: CommandLine, rows: str, model: str, tmp_path: Path
):
    wheel = tmp_path / "fastbert_jobs-1-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    given = [*on(dataflow), f"--extra_package={wheel}"]
    given[given.index(GIVEN[-1])] = f"--sdk_container_image={OFFICIAL}"
    command(*score(rows, model), "--output", f"{bucket.url}/out", *given)
    (pool,) = dataflow.request["environment"]["workerPools"]
    assert {package["name"] for package in pool["packages"]} >= {wheel.name, "extra_packages.txt"}
    assert b"a wheel" in bucket.files("tmp").values()


def test_a_template_is_written_whose_job_writes_the_manifest(
    bucket: Bucket, dataflow: Dataflow, command: CommandLine, rows: str, model: str
):
    command(*score(rows, model), "--output", f"{bucket.url}/local")
    location = f"--template_location={bucket.url}/launches/job_object"
    out = command(*score(rows, model), "--output", f"{bucket.url}/flow", *on(dataflow), location)
    assert "wrote gs://corpus-bucket/launches/job_object; the job that is made of it verifies" in out
    assert dataflow.request == {}
    assert bucket.files("flow").keys() == {"_JOB.json"}
    # Whoever starts it.
    dataflow.submit(json.loads(bucket.read("launches/job_object")))
    assert dataflow.failures == []
    assert bucket.files("flow") == bucket.files("local")


def test_a_dry_run_makes_the_request_and_sends_nothing(
    bucket: Bucket, command: CommandLine, rows: str, model: str
):
    before = {name: bucket.read(name) for name in bucket.names()}
    given = ["--runner", "DataflowRunner", *GIVEN, "--max_num_workers=4"]
    out = command(*score(rows, model), "--output", f"{bucket.url}/out", "--dry-run", *given)
    assert {name: bucket.read(name) for name in bucket.names()} == before
    lines = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)
    assert lines["input"].strip() == "1 file, 4 shards, 62 rows"
    assert lines["model"].strip().startswith(f"{model}, 3 layers")
    options = " ".join(["--runner=DataflowRunner", *GIVEN, "--max_num_workers=4", *ADDED])
    assert lines["Beam options"] == options
    assert out.endswith("dry run: nothing was written or submitted\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--job_name=My Job"], "DataflowRunner cannot be used: .*Invalid job_name"),
        (["--project=123"], "DataflowRunner cannot be used: .*Invalid Project ID"),
        (["--num_workers=5", "--max_num_workers=4"], "cannot exceed max_num_workers"),
    ],
)
def test_a_dry_run_finds_what_dataflow_would_refuse(
    bucket: Bucket, command: CommandLine, rows: str, model: str, given: list[str], message: str
):
    line = command.refused(
        *score(rows, model), "--output", f"{bucket.url}/out", "--dry-run", "--runner", "DataflowRunner",
        *GIVEN, *given,
    )  # fmt: skip
    assert re.search(message, line)
    assert bucket.files("out") == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [],
            "--runner DataflowRunner needs --project and --region and --temp_location: give --project "
            "PROJECT --region REGION --temp_location gs://BUCKET/DIRECTORY",
        ),
        ([*PLACE[:1], *PLACE[2:]], "--runner DataflowRunner needs --region: give"),
        ([*PLACE[:2], "--temp_location=/tmp/x"], "--temp_location '/tmp/x' is no gs://BUCKET/DIRECTORY"),
        ([*PLACE[:2], "--temp_location=gs://bucket"], "--temp_location 'gs://bucket' is no gs://BUCKET/"),
        ([*GIVEN, "--staging_location=s3://b/c"], "--staging_location 's3://b/c' is no gs://BUCKET/"),
        (
            PLACE,
            "workers would lack fastbert-jobs: give --sdk_container_image IMAGE, made with "
            "containers/Dockerfile, or its wheel, --extra_package WHEEL",
        ),
        ([*PLACE, f"--sdk_container_image={OFFICIAL}"], f"workers would lack fastbert-jobs: {OFFICIAL} has"),
        (
            [*PLACE, "--sdk_container_image=apache/beam_python3.9_sdk:2.50.0", "--extra_package=a.whl"],
            "--sdk_container_image apache/beam_python3.9_sdk:2.50.0 is of Python 3.9 and Beam 2.50.0; here "
            f"are Python {python_version()} and Beam {beam.__version__}: make them equal",
        ),
        ([*GIVEN, "--dry_run=True"], "--dry_run is Beam's, of a pipeline alone: give --dry-run"),
        ([*GIVEN, "--num_wrkers=3"], "there is no option --num_wrkers; did you mean --num_workers?"),
    ],
)
def test_what_dataflow_would_lack_is_one_line_and_nothing_is_written(
    command: CommandLine, tmp_path: Path, given: list[str], message: str
):
    pytest.importorskip("apitools", reason="apache-beam[gcp] is not installed")
    line = command.refused(
        *score(f"gs://{BUCKET}/rows.tsv", f"gs://{BUCKET}/model"), "--output", f"gs://{BUCKET}/out",
        "--runner", "DataflowRunner", *given,
    )  # fmt: skip
    assert line.startswith(message)
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("which", ["input", "output", "model"])
def test_what_workers_cannot_see_is_refused(command: CommandLine, fastbert: Path, tmp_path: Path, which: str):
    pytest.importorskip("apitools", reason="apache-beam[gcp] is not installed")
    here = {
        "input": str(write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})),
        "output": str(tmp_path / "out"),
        "model": str(fastbert),
    }
    place = {name: f"gs://{BUCKET}/{name}" for name in here} | {which: here[which]}
    line = command.refused(
        *score(place["input"], place["model"]), "--output", place["output"], "--runner", "DataflowRunner",
        *GIVEN,
    )  # fmt: skip
    assert f"{here[which]!r} is on this machine, where workers of Dataflow cannot see it" in line
    assert not (tmp_path / "out").exists()


def test_who_has_no_account_is_told_so_before_anything_is_asked(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("apitools", reason="apache-beam[gcp] is not installed")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setattr("jobs.driver.dataflow.match_files", lambda _: pytest.fail("a bucket is asked for"))
    line = command.refused(
        *score(f"gs://{BUCKET}/rows.tsv", f"gs://{BUCKET}/model"), "--output", f"gs://{BUCKET}/out",
        "--runner", "DataflowRunner", *(option for option in GIVEN if option != "--no_auth"),
    )  # fmt: skip
    assert line.startswith("--runner DataflowRunner needs an account of Google's: Your default credentials")
    assert line.endswith("; run `gcloud auth application-default login`")


@pytest.mark.parametrize("name", ["temp_location", "staging_location"])
def test_a_bucket_that_is_not_there_is_one_line(
    bucket: Bucket, command: CommandLine, rows: str, model: str, name: str
):
    line = command.refused(
        *score(rows, model), "--output", f"{bucket.url}/out", "--runner", "DataflowRunner", *GIVEN,
        f"--{name}=gs://no-such-bucket/tmp",
    )  # fmt: skip
    assert line.startswith(f"--{name} 'gs://no-such-bucket/tmp' cannot be used: [Errno 2] No such file")
    assert line.endswith("; is there such a bucket, and may you read it?")
    assert bucket.files("out") == {}


def test_a_model_in_the_image_is_seen(bucket: Bucket, fastbert: Path, monkeypatch: pytest.MonkeyPatch):
    runner = RunnerConfig(runner="DataflowRunner", beam_args=tuple(GIVEN))
    place: dict[str, Any] = {"inputs": {"input": ["gs://b/i"]}, "outputs": {"output": "gs://b/o"}}
    monkeypatch.setenv(IMAGE_MODELS, str(fastbert.parent))
    check_dataflow(runner, **place, model=str(fastbert))
    monkeypatch.setenv(IMAGE_MODELS, str(fastbert / "other"))
    with pytest.raises(ParameterError, match="cannot see it"):
        check_dataflow(runner, **place, model=str(fastbert))
    # A name on the hub, which workers ask for themselves.
    check_dataflow(runner, **place, model="somebody/fastbert")


def test_of_other_runners_nothing_is_said(tmp_path: Path):
    place = {"input": [str(tmp_path)]}
    check_dataflow(RunnerConfig(), inputs=place, outputs={"output": "here"}, model=str(tmp_path))


def test_without_googles_libraries_it_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "apache_beam.runners.dataflow.internal.apiclient", None)
    runner = RunnerConfig(runner="DataflowRunner", beam_args=tuple(GIVEN))
    with pytest.raises(ParameterError) as error:
        check_dataflow(runner, inputs={}, outputs={}, model="gs://b/m")
    assert str(error.value) == (
        "`runner` DataflowRunner needs Google's libraries: install this package with its extra gcp, "
        "pip install -c constraints.txt '.[gcp]'"
    )


def test_of_a_job_elsewhere_there_is_nothing_to_watch():
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create([1])
    assert describe_job(pipeline.result) is None


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            "Traceback ...\nModuleNotFoundError: No module named 'pipeline'",
            "the workers lack fastbert-jobs, or have another version of it: make --sdk_container_image",
        ),
        (
            "The worker lost contact.",
            "DataflowRuntimeException: Dataflow pipeline failed. State: FAILED, Error: The worker lost",
        ),
    ],
)
def test_a_job_that_fails_there_is_one_line(
    bucket: Bucket, dataflow: Dataflow, command: CommandLine, rows: str, model: str,
    monkeypatch: pytest.MonkeyPatch, message: str, line: str,
):  # fmt: skip
    from apache_beam.runners.dataflow import dataflow_runner

    class Clock:
        """Nobody waits."""

        time = staticmethod(dataflow_runner.time.time)
        sleep = staticmethod(lambda _: None)

    monkeypatch.setattr(dataflow_runner, "time", Clock)
    dataflow.state, dataflow.message = "JOB_STATE_FAILED", message
    status, _, err = command.run(*score(rows, model), "--output", f"{bucket.url}/out", *on(dataflow))
    assert status == 2
    assert err.splitlines()[-1].startswith(f"fastbert-jobs: {line}")
    assert json.loads(bucket.files("out").pop("_JOB.json"))
    assert "_MANIFEST.json" not in bucket.files("out")


def test_what_a_worker_lacks_is_told_by_pythons_own_words():
    assert isinstance(as_worker_error(ValueError("No module named 'model.engine'")), EnvironmentMismatchError)
    assert as_worker_error(ValueError("No module named 'modelling'")) is None
