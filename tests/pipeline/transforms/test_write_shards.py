import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from apache_beam.io.filesystems import FileSystems
from apache_beam.testing.util import assert_that, equal_to

from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.plan import WorkItem
from pipeline.contract.shards import Counts, read_footer
from pipeline.reading.inputs import Columns, inspect_inputs
from pipeline.transforms import write_shards
from pipeline.transforms.write_shards import ReadOptions, ShardJob, WriteShards, write_shard
from tests.job_fixtures import make_texts, read_rejected, snapshot, write_tsv

TEXTS = ["one", "", "three", "four", " ", "six", "seven"]


@dataclass(frozen=True)
class ShoutTask:
    """A job without a model: texts in capitals."""

    reading: ReadOptions = field(
        default_factory=lambda: ReadOptions(columns=Columns(text="text"), id_type=None)
    )
    fails_at: str = ""

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field("row", pa.int64()), pa.field("shout", pa.string()), *self.reading.kept])

    def load(self) -> str:
        return "!"

    def process(self, rows: pa.Table, source: str, loaded: str) -> tuple[pa.Table, Counts]:
        texts = rows[schema.INPUT_TEXT].to_pylist()
        if self.fails_at in texts:
            raise KeyError(self.fails_at)
        shouts = [text.upper() + loaded for text in texts]
        table = pa.table([rows["row"], shouts], schema=self.schema)
        return table, {"letters": sum(map(len, texts)), "windows": 1}


def items_of(path: Path, rows_per_shard: int = 100) -> list[WorkItem]:
    return list(inspect_inputs([str(path)], Columns(text="text"), rows_per_shard=rows_per_shard).plan().items)


def shard_job(output: Path, task: ShoutTask | None = None) -> ShardJob[str]:
    return ShardJob(task=task or ShoutTask(), output=str(output), metadata={"fingerprint": "f00"})


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})


def test_every_row_is_in_the_shard_or_rejected(tmp_path: Path, rows: Path):
    (item,) = items_of(rows)
    report = write_shard(shard_job(tmp_path / "out"), item, "!")
    assert report.name == item.shard_name
    assert report.counts == {"rows": 5, "rejected": 2, "letters": 20, "windows": 1}
    shard = pq.read_table(tmp_path / "out" / item.shard_name)
    assert shard["row"].to_pylist() == [0, 2, 3, 5, 6]
    assert shard["shout"].to_pylist() == ["ONE!", "THREE!", "FOUR!", "SIX!", "SEVEN!"]
    assert read_rejected(tmp_path / "out") == [(str(rows), 1, "empty", b""), (str(rows), 4, "empty", b" ")]
    footer = read_footer(OutputLayout(str(tmp_path / "out")), item.shard_name)
    assert footer is not None
    assert (footer.fingerprint, footer.num_rows) == ("f00", 5)
    assert footer.counts == {"rejected": 2, "letters": 20, "windows": 1}


def test_a_huge_item_is_done_a_window_at_a_time(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch):
    (item,) = items_of(rows)
    whole = write_shard(shard_job(tmp_path / "whole"), item, "!")
    monkeypatch.setattr(write_shards, "WINDOW_ROWS", 2)
    windowed = write_shard(shard_job(tmp_path / "windows"), item, "!")
    assert windowed.counts == {**whole.counts, "windows": 4}
    one, two = (tmp_path / name / item.shard_name for name in ("whole", "windows"))
    assert pq.read_table(one).equals(pq.read_table(two))
    assert read_rejected(tmp_path / "whole") == read_rejected(tmp_path / "windows")


def test_without_rejected_rows_there_is_no_file_of_them(tmp_path: Path):
    (item,) = items_of(write_tsv(tmp_path / "rows.tsv", {"text": ["a", "b"]}))
    write_shard(shard_job(tmp_path / "out"), item, "!")
    assert snapshot(tmp_path / "out").keys() == {item.shard_name}


def test_rejected_rows_are_in_place_before_the_shard_is(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    renamed: list[str] = []
    rename = FileSystems.rename

    def spy(sources: list[str], targets: list[str]) -> None:
        renamed.extend(str(Path(target).relative_to(tmp_path / "out")) for target in targets)
        rename(sources, targets)

    monkeypatch.setattr(FileSystems, "rename", staticmethod(spy))
    (item,) = items_of(rows)
    write_shard(shard_job(tmp_path / "out"), item, "!")
    assert renamed == [f"rejected/{item.shard_name}", item.shard_name]


def test_an_item_that_fails_leaves_nothing(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(write_shards, "WINDOW_ROWS", 2)
    (item,) = items_of(rows)
    with pytest.raises(KeyError, match="seven"):
        write_shard(shard_job(tmp_path / "out", ShoutTask(fails_at="seven")), item, "!")
    assert snapshot(tmp_path / "out") == {}


def test_a_doubled_item_replaces_its_shard_by_equal_bytes(tmp_path: Path, rows: Path):
    (item,) = items_of(rows)
    write_shard(shard_job(tmp_path / "out"), item, "!")
    before = snapshot(tmp_path / "out")
    write_shard(shard_job(tmp_path / "out"), item, "!")
    assert snapshot(tmp_path / "out") == before


def test_no_rows_make_an_empty_shard(tmp_path: Path):
    (item,) = items_of(write_tsv(tmp_path / "rows.tsv", {"text": []}))
    report = write_shard(shard_job(tmp_path / "out"), item, "!")
    assert report.counts == {"rows": 0, "rejected": 0}
    assert pq.read_table(tmp_path / "out" / item.shard_name).schema.names == ["row", "shout"]


@contextmanager
def running() -> Iterator[beam.Pipeline]:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        yield pipeline


def test_the_graph_reports_every_item(tmp_path: Path):
    texts = make_texts(50)
    items = items_of(write_tsv(tmp_path / "rows.tsv", {"text": texts}), rows_per_shard=7)
    with running() as pipeline:
        reports = pipeline | beam.Create(items) | WriteShards(shard_job(tmp_path / "out"))
        assert_that(reports | beam.Map(lambda r: r.name), equal_to([item.shard_name for item in items]))
    shards = pa.concat_tables(pq.read_table(path) for path in sorted((tmp_path / "out").glob("part-*")))
    assert shards["row"].to_pylist() == list(range(50))
    assert shards["shout"].to_pylist() == [text.upper() + "!" for text in texts]


def test_the_graph_counts_rows_as_metrics(tmp_path: Path, rows: Path):
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create(items_of(rows, 2)) | WriteShards(shard_job(tmp_path / "out"))
    result = pipeline.run()
    result.wait_until_finish()
    found = {counter.key.metric.name: counter.result for counter in result.metrics().query()["counters"]}
    assert {name: found[name] for name in ("rows", "rejected", "letters")} == {
        "rows": 5,
        "rejected": 2,
        "letters": 20,
    }


def test_a_process_loads_once_and_only_if_it_has_work(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    loads: list[int] = []
    monkeypatch.setattr(ShoutTask, "load", lambda self: loads.append(1) or "!")
    with running() as pipeline:
        _ = pipeline | beam.Create(items_of(rows, 2)) | WriteShards(shard_job(tmp_path / "out"))
    assert len(loads) == 1
    with running() as pipeline:
        _ = pipeline | beam.Create([]) | WriteShards(shard_job(tmp_path / "out"))
    assert len(loads) == 1


def test_a_transform_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    WriteShards(shard_job(tmp_path))
    assert dict(os.environ) == before


def threads_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_workers_compute_on_the_jobs_threads_and_the_process_gets_its_own_back(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    threads: list[int] = []
    monkeypatch.setattr(ShoutTask, "load", lambda self: threads.append(torch.get_num_threads()) or "!")
    before = threads_of_a_new_thread()
    with running() as pipeline:
        job = replace(shard_job(tmp_path / "out"), torch_threads=before + 3)
        _ = pipeline | beam.Create(items_of(rows)) | WriteShards(job)
    assert threads == [before + 3]
    assert threads_of_a_new_thread() == before


def test_workers_keep_what_operators_free(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[None] = []
    monkeypatch.setattr(write_shards, "disable_malloc_trim", lambda: calls.append(None))
    with running() as pipeline:
        _ = pipeline | beam.Create(items_of(rows)) | WriteShards(shard_job(tmp_path / "out"))
    assert calls
