import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from apache_beam.io.filesystems import FileSystems
from apache_beam.testing.util import assert_that, equal_to

from model.errors import CheckpointError
from model.guarantee.unit import Unit
from pipeline.contract import schema
from pipeline.contract.columns import Columns
from pipeline.contract.job import LabelSettings
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import LabelManifest, read_manifest
from pipeline.contract.plan import WorkItem
from pipeline.contract.shards import Counts, read_footer
from pipeline.reading.inputs import ReadOptions, inspect_inputs
from pipeline.transforms import write_shards
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.loaded_models import hold
from pipeline.transforms.write_shards import RunCorpusJob, WriteShards, write_shard
from tests.job_fixtures import make_texts, read_rejected, snapshot, write_tsv

TEXTS = ["one", "", "three", "four", " ", "six", "seven"]

READING = ReadOptions(columns=Columns(text="text"), id_type=None, kept=(), rows_per_shard=100)


@dataclass(frozen=True)
class ShoutTask:
    """A job without a model: texts in capitals."""

    reading: ReadOptions = READING
    fails_at: str = ""
    mistake_at: str = ""
    labels: tuple[str, ...] = ("a", "b")

    @property
    def settings(self) -> LabelSettings:
        return LabelSettings(
            model_hash=f"{self.fails_at}{self.mistake_at}", device="cpu", precision="fp32", backend="torch",
            max_length=5, columns=self.reading.columns, rows_per_shard=self.reading.rows_per_shard,
            calibration_fraction=0.0, unit=Unit.TEXTS, teacher_texts="",
        )  # fmt: skip

    def manifest(self, **fields: Any) -> LabelManifest:
        return LabelManifest(**fields, teacher="nobody")

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field("row", pa.int64()), pa.field("shout", pa.string()), *self.reading.kept])

    def load(self) -> str:
        return "!"

    def process(self, rows: pa.Table, source: str, loaded: str) -> tuple[pa.Table, Counts]:
        texts = rows[schema.INPUT_TEXT].to_pylist()
        if self.fails_at in texts:
            raise KeyError(self.fails_at)
        if self.mistake_at in texts:
            raise CheckpointError(f"{self.mistake_at!r} is a mistake; cure it")
        shouts = [text.upper() + loaded for text in texts]
        table = pa.table([rows["row"], shouts], schema=self.schema)
        return table, {"letters": sum(map(len, texts)), "windows": 1}


def shard_job(
    output: Path, path: Path | None = None, task: ShoutTask | None = None, *, rows_per_shard: int = 100
) -> CorpusJob[LabelManifest]:
    """A job on the rows of `path`, the fixture's by default."""
    path = output.parent / "rows.tsv" if path is None else path
    inputs = inspect_inputs([str(path)], Columns(text="text"), rows_per_shard=rows_per_shard)
    return CorpusJob(task=task or ShoutTask(), inputs=inputs, output=str(output))


def items_of(job: CorpusJob[LabelManifest]) -> list[WorkItem]:
    return list(job.plan.items)


ONLY_SHARD = "part-00000-of-00001.parquet"


def done(job: CorpusJob[LabelManifest], loaded: str = "!") -> Counts:
    """Do the only item of a job."""
    (item,) = job.plan.items
    return write_shard(job, item, loaded)


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


def test_a_huge_item_is_done_a_window_at_a_time(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch):
    whole = done(shard_job(tmp_path / "whole"))
    monkeypatch.setattr(write_shards, "WINDOW_ROWS", 2)
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
    rename = FileSystems.rename

    def spy(sources: list[str], targets: list[str]) -> None:
        renamed.extend(str(Path(target).relative_to(tmp_path / "out")) for target in targets)
        rename(sources, targets)

    monkeypatch.setattr(FileSystems, "rename", staticmethod(spy))
    done(shard_job(tmp_path / "out"))
    assert renamed == [f"rejected/{ONLY_SHARD}", ONLY_SHARD]


def test_an_item_that_fails_leaves_nothing(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(write_shards, "WINDOW_ROWS", 2)
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


def test_a_users_mistake_is_left_for_the_driver_and_nothing_else_is_begun(tmp_path: Path):
    texts = [f"text {number}" for number in range(10)]
    path = write_tsv(tmp_path / "many.tsv", {"text": texts})
    job = shard_job(tmp_path / "out", path, ShoutTask(mistake_at="text 5"), rows_per_shard=1)
    job.claim()
    with running() as pipeline:
        names = pipeline | beam.Create(items_of(job)) | WriteShards(job)
        # One bundle after another, in order: those before the mistake are done, those after it are not.
        assert_that(names, equal_to([item.shard_name for item in items_of(job)[:5]]))
    assert len(job.layout.finished_shards()) == 5
    with pytest.raises(CheckpointError) as error:
        job.commit()
    assert str(error.value) == "'text 5' is a mistake; cure it"
    assert not (tmp_path / "out" / "_MANIFEST.json").exists()


def test_a_mended_job_goes_on_and_leaves_no_trace_of_the_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_tsv(tmp_path / "many.tsv", {"text": ["a", "b", "c"]})
    job = shard_job(tmp_path / "out", path, rows_per_shard=1)
    process = ShoutTask.process

    def fail_at_b(self: ShoutTask, rows: pa.Table, source: str, loaded: str) -> tuple[pa.Table, Counts]:
        if "b" in rows[schema.INPUT_TEXT].to_pylist():
            raise CheckpointError("not yet")
        return process(self, rows, source, loaded)

    monkeypatch.setattr(ShoutTask, "process", fail_at_b)
    with pytest.raises(CheckpointError, match="not yet"), running() as pipeline:
        _ = pipeline | RunCorpusJob(job)
    monkeypatch.undo()
    assert job.pending(job.claim()) == items_of(job)[1:]
    with running() as pipeline:
        _ = pipeline | RunCorpusJob(job)
    with running() as pipeline:
        _ = pipeline | RunCorpusJob(replace(job, output=str(tmp_path / "whole")))
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_a_defect_of_ours_ends_the_pipeline_as_it_is(tmp_path: Path, rows: Path):
    job = shard_job(tmp_path / "out", task=ShoutTask(fails_at="seven"))
    with pytest.raises(KeyError, match="seven"), running() as pipeline:
        _ = pipeline | RunCorpusJob(job)


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
    for name in ("disable_malloc_trim", "limit_kernel_cache"):
        monkeypatch.setattr(write_shards, name, partial(calls.append, name))
    job = shard_job(tmp_path / "out")
    with running() as pipeline:
        _ = pipeline | beam.Create(items_of(job)) | WriteShards(job)
    assert set(calls) == {"disable_malloc_trim", "limit_kernel_cache"}
