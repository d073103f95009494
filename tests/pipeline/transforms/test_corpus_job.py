import json
import pickle
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.errors import CheckpointError, OutputError
from pipeline.contract.columns import Columns
from pipeline.contract.manifest import ScoreManifest, read_manifest
from pipeline.contract.worker_errors import write_worker_error
from pipeline.transforms import corpus_job
from pipeline.transforms.corpus_job import CorpusJob, library_versions
from pipeline.transforms.item_job import ItemJob
from pipeline.transforms.item_worker import write_shard
from pipeline.transforms.score_task import Scorer
from pipeline.transforms.scoring import score_job
from tests.job_fixtures import make_texts, snapshot, write_tsv

NUM_SHARDS = 3


@pytest.fixture
def job(tmp_path: Path, fastbert: Path) -> CorpusJob[ScoreManifest]:
    """Thirty rows in three shards."""
    path = write_tsv(tmp_path / "rows.tsv", {"text": make_texts(30)})
    return score_job(
        input=[str(path)], columns=Columns(text="text"), model=str(fastbert), output=str(tmp_path / "out"),
        speed=0.5, rows_per_shard=10, precision="fp32",
    )  # fmt: skip


def run(job: CorpusJob[ScoreManifest]) -> list[str]:
    """Write what is not finished, as a runner does; return its shards' names."""
    assert job.holder is not None
    scorer: Scorer = job.holder.loaded
    items = job.pending(job.claim())
    for item in items:
        write_shard(ItemJob.of(job), item, scorer)
    return [item.shard_name for item in items]


def test_a_job_is_claimed_run_and_committed(job: CorpusJob[ScoreManifest], tmp_path: Path):
    assert run(job) == [item.shard_name for item in job.plan.items]
    manifest = job.commit()
    assert read_manifest(job.layout, ScoreManifest) == manifest
    assert (len(manifest.shards), manifest.counts["rows"]) == (NUM_SHARDS, 30)
    assert manifest.settings == job.task.settings
    assert manifest.fingerprint == job.description.fingerprint
    assert manifest.versions == library_versions()
    assert manifest.certificate is None


def test_a_finished_job_has_nothing_pending(job: CorpusJob[ScoreManifest], tmp_path: Path):
    run(job)
    job.commit()
    before = snapshot(tmp_path / "out")
    assert run(job) == []
    job.commit()
    assert snapshot(tmp_path / "out") == before


def test_a_job_that_was_stopped_goes_on(job: CorpusJob[ScoreManifest], tmp_path: Path):
    run(job)
    job.commit()
    before = snapshot(tmp_path / "out")
    (_, second, _) = [item.shard_name for item in job.plan.items]
    Path(job.layout.shard(second)).unlink()
    Path(job.layout.manifest).unlink()
    assert run(job) == [second]
    job.commit()
    assert snapshot(tmp_path / "out") == before


def test_shards_of_other_libraries_are_made_again(
    job: CorpusJob[ScoreManifest], monkeypatch: pytest.MonkeyPatch
):
    run(job)
    job.commit()
    versions = {**library_versions(), "torch": "99"}
    monkeypatch.setattr(corpus_job, "library_versions", lambda: versions)
    later = replace(job)
    assert len(run(later)) == NUM_SHARDS
    assert later.commit().versions == versions


def test_every_shard_says_what_made_it(job: CorpusJob[ScoreManifest]):
    for name in run(job):
        metadata = pq.read_schema(job.layout.shard(name)).metadata
        assert metadata[b"fastbert.fingerprint"].decode() == job.description.fingerprint
        assert metadata[b"fastbert.command"] == b"score"
        assert json.loads(metadata[b"fastbert.labels"]) == list(job.task.labels)
        assert json.loads(metadata[b"fastbert.versions"]) == library_versions()
        settings = json.loads(metadata[b"fastbert.settings"])
        assert settings.items() <= job.description.as_json().items()


def test_a_workers_error_is_raised_before_a_missing_shard_is(job: CorpusJob[ScoreManifest]):
    job.claim()
    write_worker_error(job.layout, job.plan.items[1], CheckpointError("the model is damaged"))
    with pytest.raises(CheckpointError, match="the model is damaged"):
        job.commit()
    job.claim()
    with pytest.raises(OutputError, match="was not written"):
        job.commit()


def test_only_so_many_rows_may_be_rejected(job: CorpusJob[ScoreManifest], tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": ["", "echo", "fern", "glow"]})
    strict = score_job(
        input=[str(path)], columns=Columns(text="text"), model=job.task.directory,
        output=str(tmp_path / "strict"), max_rejected=0.2, precision="fp32",
    )  # fmt: skip
    run(strict)
    with pytest.raises(OutputError, match=r"1 of 4 rows were rejected, more than `max_rejected` 0\.2 allows"):
        strict.commit()
    assert replace(strict, max_rejected=0.25).commit().counts["rejected"] == 1


def test_where_it_runs_changes_no_fingerprint(job: CorpusJob[ScoreManifest], tmp_path: Path):
    elsewhere = replace(
        job, output=str(tmp_path / "other"), torch_threads=3, max_rejected=0.5, overwrite=True
    )
    assert elsewhere.description.fingerprint == job.description.fingerprint
    assert elsewhere.metadata == job.metadata


def test_the_model_stays_where_it_was_loaded(job: CorpusJob[ScoreManifest], monkeypatch: pytest.MonkeyPatch):
    fingerprint = job.description.fingerprint
    assert job.holder is not None
    arrived: CorpusJob[ScoreManifest] = pickle.loads(pickle.dumps(job))
    assert arrived.holder is None
    assert arrived == job
    # What is written there is what was told here.
    assert arrived.metadata == job.metadata
    monkeypatch.setattr("pipeline.contract.worker_environment.version", lambda _: "elsewhere")
    assert arrived.versions == job.versions != library_versions()
    assert arrived.description.fingerprint == fingerprint
    assert len(pickle.dumps(job)) < 20_000


def test_the_libraries_are_those_that_results_depend_on():
    versions = library_versions()
    assert {"fastbert-jobs", "torch", "transformers", "tokenizers", "pyarrow"} <= versions.keys()
    assert all(versions.values())
