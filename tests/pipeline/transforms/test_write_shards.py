import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from apache_beam.testing.util import assert_that, equal_to

from model.errors import CheckpointError
from pipeline.contract import schema
from pipeline.contract.manifest import LabelManifest, read_manifest
from pipeline.transforms import item_worker
from pipeline.transforms.loaded_models import hold
from pipeline.transforms.row_task import ProcessedRows
from pipeline.transforms.write_shards import RunCorpusJob, WriteShards
from tests.job_fixtures import make_texts, snapshot, write_tsv
from tests.pipeline.transforms.shout_jobs import TEXTS, ShoutTask, items_of, shard_job


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})


@contextmanager
def running() -> Iterator[beam.Pipeline]:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        yield pipeline


def test_the_graph_names_every_shard(tmp_path: Path):
    texts = make_texts(50)
    job = shard_job(tmp_path / "out", write_tsv(tmp_path / "many.tsv", {"text": texts}), rows_per_shard=7)
    items = items_of(job)
    with running() as pipeline:
        names = pipeline | beam.Create(items) | WriteShards(job)
        assert_that(names, equal_to([item.shard_name for item in items]))
    shards = pa.concat_tables(pq.read_table(path) for path in sorted((tmp_path / "out").glob("part-*")))
    assert shards["row"].to_pylist() == list(range(50))
    assert shards["shout"].to_pylist() == [text.upper() + "!" for text in texts]


def test_the_graph_counts_rows_as_metrics(tmp_path: Path, rows: Path):
    job = shard_job(tmp_path / "out", rows_per_shard=2)
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create(items_of(job)) | WriteShards(job)
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
    job = shard_job(tmp_path / "out", task=ShoutTask(labels=("of", "this test")), rows_per_shard=2)
    with running() as pipeline:
        _ = pipeline | beam.Create(items_of(job)) | WriteShards(job)
    assert len(loads) == 1
    with running() as pipeline:
        _ = pipeline | beam.Create([]) | WriteShards(job)
    assert len(loads) == 1


def test_what_the_driver_holds_is_not_loaded_again(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ShoutTask, "load", lambda self: pytest.fail("it is loaded already"))
    job = shard_job(tmp_path / "out", task=ShoutTask(labels=("of", "the driver")))
    job = replace(job, holder=hold(job.task, "?"))
    with running() as pipeline:
        _ = pipeline | beam.Create(items_of(job)) | WriteShards(job)
    (item,) = items_of(job)
    assert pq.read_table(tmp_path / "out" / item.shard_name)["shout"].to_pylist()[0] == "ONE?"


def test_a_users_mistake_is_left_for_the_driver_and_the_others_are_done(tmp_path: Path):
    texts = [f"text {number}" for number in range(10)]
    path = write_tsv(tmp_path / "many.tsv", {"text": texts})
    job = shard_job(tmp_path / "out", path, ShoutTask(mistake_at="text 5"), rows_per_shard=1)
    job.claim()
    with running() as pipeline:
        names = pipeline | beam.Create(items_of(job)) | WriteShards(job)
        done = [item.shard_name for item in items_of(job) if item.index != 5]
        assert_that(names, equal_to(done))
    with pytest.raises(CheckpointError) as error:
        job.commit()
    assert str(error.value) == f"{path}, rows 5 to 5: 'text 5' is a mistake; cure it"
    assert not (tmp_path / "out" / "_MANIFEST.json").exists()


def test_a_mended_job_goes_on_and_leaves_no_trace_of_the_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_tsv(tmp_path / "many.tsv", {"text": ["a", "b", "c"]})
    job = shard_job(tmp_path / "out", path, rows_per_shard=1)
    process = ShoutTask.process

    def fail_at_b(self: ShoutTask, rows: pa.Table, source: str, loaded: str) -> ProcessedRows:
        if "b" in rows[schema.INPUT_TEXT].to_pylist():
            raise CheckpointError("not yet")
        return process(self, rows, source, loaded)

    monkeypatch.setattr(ShoutTask, "process", fail_at_b)
    with pytest.raises(CheckpointError, match="not yet"), running() as pipeline:
        _ = pipeline | RunCorpusJob(job)
    monkeypatch.undo()
    assert job.pending(job.claim()) == items_of(job)[1:2]
    with running() as pipeline:
        _ = pipeline | RunCorpusJob(job)
    with running() as pipeline:
        _ = pipeline | RunCorpusJob(replace(job, output=str(tmp_path / "whole")))
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_a_whole_job_returns_its_manifest(tmp_path: Path, rows: Path):
    job = shard_job(tmp_path / "out", rows_per_shard=3)
    with running() as pipeline:
        manifests = pipeline | RunCorpusJob(job)
        assert_that(manifests | beam.Map(lambda m: (m.counts["rows"], len(m.shards))), equal_to([(5, 3)]))
    assert read_manifest(job.layout, LabelManifest).counts["rejected"] == 2
    assert not (tmp_path / "out" / "_temporary").exists()


def test_a_transform_leaves_the_environment_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows: Path
):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    WriteShards(shard_job(tmp_path / "out"))
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
    job = shard_job(tmp_path / "out", task=ShoutTask(labels=("of", "threads")))
    job = replace(job, torch_threads=before + 3)
    with running() as pipeline:
        _ = pipeline | beam.Create(items_of(job)) | WriteShards(job)
    assert threads == [before + 3]
    assert threads_of_a_new_thread() == before


def test_workers_bound_their_memory(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    for name in ("disable_malloc_trim", "limit_kernel_cache", "trim_malloc"):
        monkeypatch.setattr(item_worker, name, partial(calls.append, name))
    job = shard_job(tmp_path / "out")
    with running() as pipeline:
        _ = pipeline | beam.Create(items_of(job)) | WriteShards(job)
    assert set(calls) == {"disable_malloc_trim", "limit_kernel_cache", "trim_malloc"}
    assert calls.count("trim_malloc") == len(items_of(job))
