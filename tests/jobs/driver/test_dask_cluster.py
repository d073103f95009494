"""Jobs on a real Dask cluster: a scheduler and two workers, each a process, on loopback."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from jobs.configs.runner import RunnerConfig
from jobs.driver.dask_cluster import check_dask, dask_args
from jobs.driver.runner import check_beam_args
from model.errors import EnvironmentMismatchError, ItemError, ParameterError
from tests.clusters import dask_cluster
from tests.job_fixtures import CommandLine, write_tsv
from tests.jobs.driver.elsewhere import assert_scores_as_here, written_by
from tests.pipeline.transforms.shout_jobs import TEXTS, DeadlyTask, ShoutTask, shard_job
from tests.sockets import listening_sockets

distributed = pytest.importorskip("distributed", reason="Dask is not installed")
# Of Dask's own, on its way out.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with dask_cluster() as found:
        yield found


@dataclass(frozen=True)
class CountedTask(ShoutTask):
    """Leaves a file for every time that it is loaded."""

    loads: str = ""

    def load(self) -> str:
        (Path(self.loads) / f"{os.getpid()}-{uuid4().hex}").touch()
        return super().load()


def run(output: Path, task: ShoutTask, address: str) -> dict[str, bytes]:
    """Do a job of seven items on the cluster, and return what it wrote."""
    runner = RunnerConfig(runner="DaskRunner", beam_args=(f"--dask_client_address={address}",))
    return written_by(shard_job(output, task=task, rows_per_shard=1), runner)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})


def done_here(output: Path, task: ShoutTask) -> dict[str, bytes]:
    return written_by(shard_job(output, task=task, rows_per_shard=1))


def test_a_model_scores_there_as_here(command: CommandLine, fastbert: Path, tmp_path: Path, address: str):
    there = ("--runner", "DaskRunner", "--dask_client_address", address)
    out = assert_scores_as_here(command, fastbert, tmp_path, *there)
    assert "DaskRunner" in out
    assert "40 rows, 1 rejected" in out


def test_workers_load_once_and_the_driver_lets_go(tmp_path: Path, rows: Path, address: str):
    (tmp_path / "loads").mkdir()
    task = CountedTask(loads=str(tmp_path / "loads"))
    threads = threading.active_count()
    assert run(tmp_path / "there", task, address) == done_here(
        tmp_path / "here", replace(task, loads=str(tmp_path))
    )
    loads = Counter(path.name.split("-")[0] for path in (tmp_path / "loads").iterdir())
    assert set(loads.values()) == {1}
    assert len(loads) == 2
    assert str(os.getpid()) not in loads
    assert listening_sockets(os.getpid()) == []
    assert threading.active_count() <= threads + 2


def test_an_item_whose_worker_is_killed_is_done_by_another_and_one_that_kills_them_all_is_one_line(
    tmp_path: Path, rows: Path
):
    """On a cluster that loses its workers by it; without any it is refused."""
    task = DeadlyTask(mercy=str(tmp_path / "mercy"))
    with dask_cluster() as address:
        found = run(tmp_path / "there", task, address)
        assert (tmp_path / "mercy").exists()
        assert found == done_here(tmp_path / "here", task)
        with distributed.Client(address) as client:
            # As by `distributed.scheduler.allowed-failures`: the first death is the last.
            client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
        with pytest.raises(ItemError, match="workers of the Dask cluster died of an item"):
            run(tmp_path / "all", DeadlyTask(), address)
        assert refused(f"--dask_client_address={address}").startswith("the Dask cluster has no workers")


def test_a_mistake_there_is_told_as_here(tmp_path: Path, rows: Path, address: str):
    with pytest.raises(Exception, match=r"rows 2 to 2: 'three' is a mistake; cure it"):
        run(tmp_path / "there", ShoutTask(mistake_at="three"), address)


def refused(*args: str) -> str:
    with pytest.raises(ParameterError) as error:
        check_dask(RunnerConfig(runner="DaskRunner", beam_args=args))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_cluster_must_be_named_and_answer(tmp_path: Path):
    assert refused().startswith(
        "`runner` DaskRunner needs a cluster: give --dask_client_address tcp://HOST:PORT"
    )
    nobody = ("--dask_client_address=tcp://127.0.0.1:9", "--dask_connection_timeout=1")
    assert refused(*nobody).startswith("there is no Dask scheduler at tcp://127.0.0.1:9: ")
    assert "there is no Dask scheduler at what is this" in refused("--dask_client_address=what is this")
    missing = tmp_path / "scheduler.json"
    assert refused(f"--dask_scheduler_file={missing}") == f"there is no Dask scheduler file {str(missing)!r}"


def test_a_cluster_is_looked_for_before_the_input_is(command: CommandLine, fastbert: Path, tmp_path: Path):
    words = ("--input", tmp_path / "missing.tsv", "--text-column", "text", "--output", tmp_path / "out")
    there = ("--runner", "DaskRunner", "--dask_scheduler_file", tmp_path / "scheduler.json")
    for given in (
        ("score", *words, "--model", fastbert, "--speed", 0.7),
        ("label-teacher", *words, "--teacher", fastbert),
    ):
        assert "there is no Dask scheduler file" in command.refused(*given, *there)


def test_workers_of_another_version_or_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
):
    runner = RunnerConfig(runner="DaskRunner", beam_args=(f"--dask_client_address={address}",))
    check_dask(runner)
    expected = {"python": "2.7"}
    monkeypatch.setattr("jobs.driver.dask_cluster.environment", lambda: expected)
    with pytest.raises(EnvironmentMismatchError, match=r"has python .*, and the job was started with 2.7"):
        check_dask(runner)
    # What cannot be unpacked there.
    missing = tmp_path / "x"
    monkeypatch.setattr("jobs.driver.dask_cluster.check_environment", lambda _: missing.read_text())
    with pytest.raises(EnvironmentMismatchError, match=r"lack fastbert-jobs: .*install it there"):
        check_dask(runner)


def test_an_item_is_a_task_unless_the_user_says_otherwise():
    assert dask_args([]) == (
        "--runner=apache_beam.runners.dask.dask_runner.DaskRunner",
        "--dask_partition_size=1",
        "--dask_connection_timeout=10",
    )
    given = ["--dask_npartitions=4", "--dask_connection_timeout=3"]
    assert dask_args(given)[1:] == tuple(given)
    check_beam_args(["--dask_client_address=tcp://localhost:1", "--dask_partition_size=1"], [])
