"""A bucket and a Dataflow service on the loopback: the one in memory, the other in this process."""

import json
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.stager import Stager

from pipeline.reading.remote_checkpoints import CACHE_VARIABLE
from pipeline.transforms import loaded_models

BUCKET = "corpus-bucket"
JOB_ID = "2026-01-01_00_00_00-1"
IMAGE = "europe-docker.pkg.dev/my-project/workers/fastbert-jobs:1"


def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail whatever asks for another machine."""
    resolve = socket.getaddrinfo

    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("localhost", "127.0.0.1", "::1", None, b"localhost", b"127.0.0.1"):
            raise AssertionError(f"{host!r} was asked for")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)


@dataclass
class Bucket:
    """Files under gs://corpus-bucket/, and nowhere else."""

    storage: Any

    @property
    def url(self) -> str:
        return f"gs://{BUCKET}"

    def names(self) -> list[str]:
        return sorted(self.storage.objects.get(BUCKET, {}))

    def read(self, name: str) -> bytes:
        return bytes(self.storage.get_file(BUCKET, name))

    def write(self, name: str, content: bytes) -> str:
        from apache_beam.io.filesystems import FileSystems

        with FileSystems.create(f"{self.url}/{name}") as file:
            file.write(content)
        return f"{self.url}/{name}"

    def upload(self, directory: Path, name: str) -> str:
        """Copy the files of a directory, and return its URL."""
        for path in sorted(directory.iterdir()):
            self.write(f"{name}/{path.name}", path.read_bytes())
        return f"{self.url}/{name}"

    def files(self, directory: str) -> dict[str, bytes]:
        """Every file below a directory, but for what the job's runs took, which is never the same."""
        prefix, times = f"{directory}/", f"{directory}/_times/"
        return {
            name.removeprefix(prefix): self.read(name)
            for name in self.names()
            if name.startswith(prefix) and not name.startswith(times)
        }


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    """An empty bucket; models are copied from it below `tmp_path`."""
    pytest.importorskip("apitools", reason="apache-beam[gcp] is not installed")
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="there is no storage emulator")
    from apache_beam.internal.gcp import auth
    from apache_beam.io.gcp import gcsio

    only_loopback(monkeypatch)
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{port}")
    # Nobody looks for an account, here or with the machine that would tell one.
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    assert gcsio
    with emulator.create_server("localhost", port, in_memory=True, default_bucket=BUCKET) as server:
        yield Bucket(server._storage)


@dataclass
class Dataflow:
    """A service that runs what it is sent, at once, on a worker that has none of the driver's files.

    Attributes:
        endpoint: its URL.
        request: what was sent last.
        state: that a job is told to be in; None to run it, and tell that it is done.
        message: an error to be told of the job.
    """

    endpoint: str
    request: dict[str, Any] = field(default_factory=dict)
    state: str | None = None
    message: str = ""
    failures: list[str] = field(default_factory=list)

    def submit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take a job."""
        self.request = request
        if self.state is None:
            try:
                self._run()
            except BaseException as error:
                self.failures.append(repr(error))
                raise
        return self.told("JOB_STATE_RUNNING" if self.state else "JOB_STATE_DONE")

    def told(self, state: str) -> dict[str, Any]:
        """What is told of the job."""
        return {**self.request, "id": JOB_ID, "projectId": "my-project", "currentState": state}

    @property
    def options(self) -> dict[str, Any]:
        """Beam's options, as the workers get them."""
        options: dict[str, Any] = self.request["environment"]["sdkPipelineOptions"]["options"]
        return options

    def _run(self) -> None:
        """Run the pipeline that was staged, its containers replaced by this process."""
        from apache_beam.io.filesystems import FileSystems

        with FileSystems.open(self.options["pipelineUrl"]) as file:
            pipeline = beam_runner_api_pb2.Pipeline.FromString(file.read())
        for environment in pipeline.components.environments.values():
            environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
            del environment.dependencies[:]
        # The worker is another machine: no model is loaded, nothing is copied yet.
        loaded_models._HOLDERS.clear()
        shutil.rmtree(os.environ[CACHE_VARIABLE], ignore_errors=True)
        fn_runner.FnApiRunner().run_via_runner_api(pipeline, _no_options()).wait_until_finish()


def _no_options() -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions([])


class _Handler(BaseHTTPRequestHandler):
    service: ClassVar[Dataflow]

    def do_POST(self) -> None:
        self._answer(self.service.submit(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

    def do_GET(self) -> None:
        if "/messages" in self.path:
            told = {"id": "m", "time": "2026-01-01T00:00:00Z", "messageImportance": "JOB_MESSAGE_ERROR"}
            self._answer({"jobMessages": [{**told, "messageText": self.service.message}]})
        elif re.search(r"/metrics", self.path):
            self._answer({"metrics": []})
        else:
            self._answer(self.service.told(self.service.state or "JOB_STATE_DONE"))

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def dataflow(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dataflow]:
    """A service with no jobs."""
    # Beam sends what `pip freeze` says here, which takes its time, for the service's own use.
    monkeypatch.setattr(Stager, "_create_stage_submission_env_dependencies", lambda *_: [])
    with ThreadingHTTPServer(("localhost", 0), _Handler) as server:
        _Handler.service = Dataflow(endpoint=f"http://localhost:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield _Handler.service
        server.shutdown()
        thread.join()
