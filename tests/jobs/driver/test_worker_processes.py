import logging
import multiprocessing
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from jobs.driver.worker_processes import run_in_processes
from model.errors import ItemError
from pipeline.contract.manifest import LabelManifest
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.row_task import ProcessedRows
from tests.job_fixtures import snapshot, write_tsv
from tests.jobs.driver.elsewhere import written_by
from tests.jobs.forked_workers import fork_context
from tests.pipeline.transforms.shout_jobs import (
    TEXTS,
    DeadlyTask,
    ShoutTask,
    WatchfulTask,
    items_of,
    shard_job,
)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})


def run(job: CorpusJob[LabelManifest], *, workers: int) -> None:
    """Run a job in so many processes, and finish it."""
    job.claim()
    run_in_processes(job, items_of(job), workers)
    job.commit()


def done_here(job: CorpusJob[LabelManifest], output: Path) -> dict[str, bytes]:
    """What a job writes that is run in this process."""
    return written_by(replace(job, output=str(output)))


class InterruptedTask(WatchfulTask):
    """Is sent what a terminal sends to all processes, where it is in a worker process."""

    def process(self, *args: Any) -> ProcessedRows:
        if multiprocessing.parent_process():
            os.kill(os.getpid(), signal.SIGINT)
        return super().process(*args)


def test_processes_write_what_one_writes_nobody_listens_and_they_do_not_heed_ctrl_c(
    tmp_path: Path, rows: Path
):
    """Three claims of the processes that a user has: each is a fresh one, which takes seconds to import."""
    (tmp_path / "report").mkdir()
    task = InterruptedTask(report=str(tmp_path / "report"))
    job = shard_job(tmp_path / "out", task=task, rows_per_shard=1)
    run(job, workers=2)
    assert not multiprocessing.active_children()
    assert len(snapshot(tmp_path / "report")) == 5
    assert snapshot(tmp_path / "out") == done_here(job, tmp_path / "here")
    reports = snapshot(tmp_path / "report")
    assert len(reports) == 10
    assert set(reports.values()) == {b""}


def test_a_worker_that_is_killed_is_told_and_its_item_done_by_another(
    tmp_path: Path, rows: Path, forked_workers: None, caplog: pytest.LogCaptureFixture
):
    task = DeadlyTask(mercy=str(tmp_path / "mercy"))
    job = shard_job(tmp_path / "out", task=task, rows_per_shard=1)
    with caplog.at_level(logging.WARNING):
        run(job, workers=1)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{rows}, rows 2 to 2: the worker process was killed by signal 9; its shard is begun anew"
    )
    assert snapshot(tmp_path / "out") == done_here(job, tmp_path / "here")


@dataclass(frozen=True)
class UnluckyTask(ShoutTask):
    """A model for which there is no memory in the first processes that load it."""

    places: str = ""  # directory of a file for each of these
    num_failing: int = 1

    def load(self) -> str:
        for place in range(self.num_failing):
            try:
                Path(self.places, str(place)).touch(exist_ok=False)
            except FileExistsError:
                continue
            raise MemoryError("no room for the model")
        return super().load()


def test_what_a_worker_takes_that_cannot_load_the_model_is_done_by_another(
    tmp_path: Path, rows: Path, forked_workers: None
):
    (tmp_path / "places").mkdir()
    task = UnluckyTask(places=str(tmp_path / "places"))
    job = shard_job(tmp_path / "out", task=task, rows_per_shard=1)
    run(job, workers=2)
    assert snapshot(tmp_path / "out") == done_here(job, tmp_path / "here")


def test_where_no_worker_can_load_the_model_the_job_fails_at_once(
    tmp_path: Path, rows: Path, forked_workers: None
):
    (tmp_path / "places").mkdir()
    task = UnluckyTask(places=str(tmp_path / "places"), num_failing=99)
    job = shard_job(tmp_path / "out", task=task, rows_per_shard=1)
    with pytest.raises(ItemError, match="MemoryError: no room for the model"):
        run(job, workers=2)
    assert len(list((tmp_path / "places").iterdir())) == 2
    assert not multiprocessing.active_children()


def test_an_item_that_kills_every_worker_fails_when_the_others_are_done(
    tmp_path: Path, rows: Path, forked_workers: None
):
    job = shard_job(tmp_path / "out", task=DeadlyTask(), rows_per_shard=1)
    with pytest.raises(ItemError) as error:
        run(job, workers=1)
    assert str(error.value) == (
        f"{rows}, rows 2 to 2: the worker process was killed by signal 9, 2 times; "
        "is there enough memory for so many `workers`?"
    )
    assert len(job.layout.finished_shards()) == len(TEXTS) - 1
    assert not multiprocessing.active_children()


def test_workers_end_with_their_driver(tmp_path: Path, rows: Path):
    """However it ends: here as the driver is killed while a worker is at an item for ever."""
    os.mkfifo(tmp_path / "fifo")
    driver = fork_context().Process(target=drive, args=(tmp_path,))
    driver.start()
    # Opened when the worker is at its item, and at its end when the worker is gone.
    with (tmp_path / "fifo").open() as fifo:
        assert fifo.readline() == "here\n"
        driver.kill()
        driver.join()
        assert fifo.read() == ""


def drive(home: Path) -> None:
    """Be a driver, which starts a worker as drivers do."""
    job = shard_job(home / "out", task=SleepyTask(report=str(home)), rows_per_shard=1)
    job.claim()
    run_in_processes(job, items_of(job), 1)


class SleepyTask(WatchfulTask):
    """Never comes to an end."""

    def process(self, *_: object) -> None:  # type: ignore[override]
        fifo = Path(self.report, "fifo").open("w")  # noqa: SIM115 - open until this process ends
        fifo.write("here\n")
        fifo.flush()
        signal.pause()


def test_a_driver_that_fails_leaves_no_workers(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch):
    job = shard_job(tmp_path / "out", rows_per_shard=1)
    job.claim()

    def fail(*_: object) -> None:
        raise OSError("no more")

    monkeypatch.setattr("jobs.driver.worker_processes.wait", fail)
    with pytest.raises(OSError, match="no more"):
        run_in_processes(job, items_of(job), 2)
    assert not multiprocessing.active_children()
