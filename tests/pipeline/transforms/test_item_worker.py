import errno
import gzip
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import BeamIOError

from model.errors import CheckpointError, EnvironmentMismatchError, FastBertJobsError, InputError, ItemError
from pipeline.contract import schema
from pipeline.contract.checksums import file_checksum
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import LabelManifest
from pipeline.contract.shards import Counts, read_footer
from pipeline.contract.work_times import Phase, WorkTimes
from pipeline.contract.worker_environment import environment
from pipeline.contract.worker_errors import MOST_ERRORS
from pipeline.reading.row_validation import RejectReason, rejected_table
from pipeline.transforms import item_worker
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.item_job import ItemJob
from pipeline.transforms.item_worker import ItemWorker, write_shard
from pipeline.transforms.row_task import ProcessedRows
from tests.job_fixtures import read_rejected, snapshot, write_tsv
from tests.pipeline.transforms.shout_jobs import TEXTS, ShoutTask, items_of, shard_job

ONLY_SHARD = "part-00000-of-00001.parquet"


def done_in_time(job: CorpusJob[LabelManifest], loaded: str = "!") -> tuple[Counts, WorkTimes]:
    """Do the only item of a job; return what was counted, and what it took."""
    (item,) = job.plan.items
    counts = write_shard(ItemJob.of(job), item, loaded)
    times = WorkTimes.of_counts(counts)
    return {name: count for name, count in counts.items() if name not in times.as_counts()}, times


def done(job: CorpusJob[LabelManifest], loaded: str = "!") -> Counts:
    """Do the only item of a job, and return what was counted."""
    return done_in_time(job, loaded)[0]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})


def test_every_row_is_in_the_shard_or_rejected(tmp_path: Path, rows: Path):
    job = shard_job(tmp_path / "out")
    (item,) = items_of(job)
    counts = done(job)
    assert item.shard_name == ONLY_SHARD
    assert counts == {"rows": 5, "rejected": 2, "letters": 20, "windows": 1}
    shard = pq.read_table(tmp_path / "out" / item.shard_name)
    assert shard["row"].to_pylist() == [0, 2, 3, 5, 6]
    assert shard["shout"].to_pylist() == ["ONE!", "THREE!", "FOUR!", "SIX!", "SEVEN!"]
    assert read_rejected(tmp_path / "out") == [(str(rows), 1, "empty", b""), (str(rows), 4, "empty", b" ")]
    footer = read_footer(OutputLayout(str(tmp_path / "out")), item.shard_name)
    assert footer is not None
    assert (footer.fingerprint, footer.num_rows) == (job.description.fingerprint, 5)
    assert footer.counts == {"rejected": 2, "letters": 20, "windows": 1}


@pytest.mark.usefixtures("rows")
def test_an_item_says_what_it_took(tmp_path: Path):
    _, times = done_in_time(shard_job(tmp_path / "out"))
    assert times.num_rows == 7
    assert set(times.phases) == {Phase.READ, Phase.WRITE}
    assert all(seconds > 0 for seconds in times.phases.values())


def test_a_huge_item_is_done_a_window_at_a_time(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch):
    whole = done(shard_job(tmp_path / "whole"))
    monkeypatch.setattr(item_worker, "WINDOW_ROWS", 2)
    windowed = done(shard_job(tmp_path / "windows"))
    assert windowed == {**whole, "windows": 4}
    one, two = (tmp_path / name / ONLY_SHARD for name in ("whole", "windows"))
    assert pq.read_table(one).equals(pq.read_table(two))
    assert read_rejected(tmp_path / "whole") == read_rejected(tmp_path / "windows")


def test_without_rejected_rows_there_is_no_file_of_them(tmp_path: Path):
    done(shard_job(tmp_path / "out", write_tsv(tmp_path / "good.tsv", {"text": ["a", "b"]})))
    assert snapshot(tmp_path / "out").keys() == {ONLY_SHARD}


def test_rejected_rows_are_in_place_before_the_shard_is(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    renamed: list[str] = []
    replace = Path.replace

    def spy(path: Path, target: str) -> Path:
        renamed.append(str(Path(target).relative_to(tmp_path / "out")))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", spy)
    done(shard_job(tmp_path / "out"))
    assert renamed == [f"rejected/{ONLY_SHARD}", ONLY_SHARD]


def test_the_shard_knows_its_rejected_rows(tmp_path: Path, rows: Path):
    job = shard_job(tmp_path / "out")
    done(job)
    footer = read_footer(job.layout, ONLY_SHARD)
    assert footer is not None
    assert footer.rejected == file_checksum(job.layout.rejected(ONLY_SHARD))


def test_rows_without_an_answer_are_rejected_in_their_place(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    process = ShoutTask.process

    def speechless_at_four(self: ShoutTask, rows: pa.Table, source: str, loaded: str) -> ProcessedRows:
        is_four = pc.equal(rows[schema.INPUT_TEXT], "four")
        lost = rows.filter(is_four)["row"].to_numpy()
        return replace(
            process(self, rows.filter(pc.invert(is_four)), source, loaded),
            rejected=rejected_table(source, lost, [(RejectReason.NOT_FINITE, b"four")] * len(lost)),
        )

    monkeypatch.setattr(ShoutTask, "process", speechless_at_four)
    counts = done(shard_job(tmp_path / "out"))
    assert (counts["rows"], counts["rejected"]) == (4, 3)
    assert read_rejected(tmp_path / "out") == [
        (str(rows), 1, "empty", b""),
        (str(rows), 3, "not_finite", b"four"),
        (str(rows), 4, "empty", b" "),
    ]


def test_an_item_that_fails_leaves_nothing(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(item_worker, "WINDOW_ROWS", 2)
    with pytest.raises(KeyError, match="seven"):
        done(shard_job(tmp_path / "out", task=ShoutTask(fails_at="seven")))
    assert snapshot(tmp_path / "out") == {}


def test_a_doubled_item_replaces_its_shard_by_equal_bytes(tmp_path: Path, rows: Path):
    job = shard_job(tmp_path / "out")
    done(job)
    before = snapshot(tmp_path / "out")
    done(job)
    assert snapshot(tmp_path / "out") == before


def test_no_rows_make_an_empty_shard(tmp_path: Path):
    counts = done(shard_job(tmp_path / "out", write_tsv(tmp_path / "none.tsv", {"text": []})))
    assert counts == {"rows": 0, "rejected": 0}
    assert pq.read_table(tmp_path / "out" / ONLY_SHARD).schema.names == ["row", "shout"]


def worker_of(job: CorpusJob[LabelManifest], monkeypatch: pytest.MonkeyPatch) -> ItemWorker:
    """A worker that waits for nothing."""
    monkeypatch.setattr(item_worker, "RETRY_PAUSES", (0.0, 0.0))
    job.claim()
    return ItemWorker(ItemJob.of(job))


@pytest.mark.parametrize(
    ("error", "num_tries"),
    [
        (OSError(errno.EIO, "the disk is tired"), 3),
        (ConnectionResetError(errno.ECONNRESET, "the network is tired"), 3),
        (BeamIOError("storage is tired"), 3),
        (TimeoutError("too slow"), 3),
        (OSError(errno.ENOSPC, "the disk is full"), 1),
        (FileNotFoundError(errno.ENOENT, "gone"), 1),
        (OSError("Arrow's, of a damaged file"), 1),
        (gzip.BadGzipFile("not gzip"), 1),
        (KeyError("a defect"), 1),
        (InputError("a mistake"), 1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_what_storage_fails_is_tried_again(
    tmp_path: Path,
    rows: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    num_tries: int,
    is_wrapped: bool,
):
    tries: list[int] = []

    def fail(*_: object) -> ProcessedRows:
        tries.append(1)
        if is_wrapped:
            raise InputError("rows.tsv: cannot be read") from error
        raise error

    monkeypatch.setattr(ShoutTask, "process", fail)
    job = shard_job(tmp_path / "out")
    worker = worker_of(job, monkeypatch)
    assert worker.do(*items_of(job)) is None
    assert len(tries) == num_tries
    with pytest.raises(FastBertJobsError):
        job.commit()


def test_a_model_that_storage_fails_to_give_is_loaded_again(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    load, tries = ShoutTask.load, [BeamIOError("503"), BeamIOError("503")]

    def fail_twice(self: ShoutTask) -> str:
        if tries:
            raise tries.pop()
        return load(self)

    monkeypatch.setattr(ShoutTask, "load", fail_twice)
    job = shard_job(tmp_path / "out", task=ShoutTask(labels=("loaded", "late")))
    assert worker_of(job, monkeypatch).do(*items_of(job)) is not None
    assert job.commit().counts["rows"] == 5


def test_an_item_that_is_well_again_is_done(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch):
    process, tries = ShoutTask.process, [OSError(errno.EIO, "once"), OSError(errno.EIO, "twice")]

    def fail_twice(self: ShoutTask, *args: Any) -> ProcessedRows:
        if tries:
            raise tries.pop()
        return process(self, *args)

    monkeypatch.setattr(ShoutTask, "process", fail_twice)
    job = shard_job(tmp_path / "out")
    assert worker_of(job, monkeypatch).do(*items_of(job)) is not None
    assert job.commit().counts["rows"] == 5
    assert snapshot(tmp_path / "out").keys() >= {ONLY_SHARD, f"rejected/{ONLY_SHARD}", "_MANIFEST.json"}


def test_a_poisoned_item_fails_when_the_others_are_done(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    job = shard_job(tmp_path / "out", task=ShoutTask(fails_at="three"), rows_per_shard=1)
    worker = worker_of(job, monkeypatch)
    done = [item.index for item in items_of(job) if worker.do(item) is not None]
    assert done == [0, 1, 3, 4, 5, 6]
    with pytest.raises(ItemError) as error:
        job.commit()
    assert str(error.value) == f"{rows}, rows 2 to 2: KeyError: 'three'"
    assert "in process" in error.value.__notes__[0]


def test_of_many_poisoned_items_it_is_the_job_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_tsv(tmp_path / "many.tsv", {"text": [f"text {number}" for number in range(30)]})
    job = shard_job(tmp_path / "out", path, rows_per_shard=1)
    tried: list[int] = []

    def fail(*_: object) -> ProcessedRows:
        tried.append(1)
        raise KeyError("all of them")

    monkeypatch.setattr(ShoutTask, "process", fail)
    worker = worker_of(job, monkeypatch)
    assert [worker.do(item) for item in items_of(job)] == [None] * 30
    assert len(tried) == MOST_ERRORS
    with pytest.raises(ItemError, match=r"all of them' \(15 more shards failed\)"):
        job.commit()


def test_a_worker_with_other_libraries_writes_nothing(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    job = shard_job(tmp_path / "out", rows_per_shard=2)
    # As it arrives in another process.
    there = replace(ItemJob.of(job), environment={**environment(), "transformers": "4.0"})
    worker = ItemWorker(pickle.loads(pickle.dumps(there)))
    assert [worker.do(item) for item in items_of(job)] == [None] * 4
    with pytest.raises(EnvironmentMismatchError, match=r"rows 0 to 1: a worker has transformers .* 4\.0;"):
        job.commit()
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_a_model_that_cannot_be_loaded_is_tried_once(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    loads: list[int] = []

    def fail(_: ShoutTask) -> str:
        loads.append(1)
        raise CheckpointError("the model is damaged; cure it")

    monkeypatch.setattr(ShoutTask, "load", fail)
    job = shard_job(tmp_path / "out", task=ShoutTask(labels=("not", "loaded")), rows_per_shard=2)
    worker = worker_of(job, monkeypatch)
    assert [worker.do(item) for item in items_of(job)] == [None] * 4
    assert loads == [1]
    with pytest.raises(CheckpointError, match="rows 0 to 1: the model is damaged; cure it"):
        job.commit()


def test_where_not_even_an_error_can_be_written_it_is_raised(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    job = shard_job(tmp_path / "out", task=ShoutTask(fails_at="three"))
    worker = worker_of(job, monkeypatch)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr(item_worker, "write_worker_error", full)
    with pytest.raises(KeyError, match="three"):
        worker.do(*items_of(job))
