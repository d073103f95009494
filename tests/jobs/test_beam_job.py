from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jobs import beam_job
from jobs.beam_job import JobOutcome
from jobs.score import ScoreConfig, run
from model.errors import InputError, OutputError
from pipeline.layout import OutputLayout
from pipeline.manifest import Manifest
from tests.job_fixtures import WRITERS, make_texts, read_manifest_file, snapshot, write_tsv

TEXTS = make_texts(60)


def outcome(*, rows: int, rejected: int, now: int, seconds: float = 2.0) -> JobOutcome:
    shards: list[Mapping[str, Any]] = [{"name": "a", "rows": rows, "counts": {"rejected": rejected}}]
    manifest = Manifest(
        description={}, fingerprint="", labels=[], environment={}, shards=[dict(s) for s in shards]
    )
    return JobOutcome(manifest=manifest, seconds=seconds, busy_seconds=0.0, num_rows_now=now)


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (outcome(rows=1000, rejected=0, now=1000), "1,000 rows, 0 rejected, 500 rows/s"),
        (
            outcome(rows=90, rejected=10, now=60),
            "90 rows, 10 rejected (40 of them finished before), 30 rows/s",
        ),
        (outcome(rows=5, rejected=0, now=0), "5 rows, 0 rejected (5 of them finished before)"),
        (outcome(rows=0, rejected=0, now=0), "0 rows, 0 rejected"),
        (outcome(rows=5, rejected=0, now=5, seconds=0.0), "5 rows, 0 rejected"),
    ],
)
def test_rows_are_summed_up_in_one_line(made: JobOutcome, line: str):
    assert made.describe_rows() == line


def score(fastbert: Path, path: Path, output: Path, **changes: Any) -> JobOutcome:
    return run(
        ScoreConfig(
            input=(str(path),), text_column="text", model=str(fastbert), output=str(output), speed=0.7,
            **{"rows_per_shard": 20, **changes},
        )
    )  # fmt: skip


def test_a_job_says_what_it_did(fastbert: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": [*TEXTS, ""]})
    done = score(fastbert, path, tmp_path / "out")
    assert (done.num_rows, done.num_rejected, done.num_rows_now) == (60, 1, 61)
    assert done.busy_seconds > 0
    assert done.manifest.counts == read_manifest_file(tmp_path / "out")["counts"]
    again = score(fastbert, path, tmp_path / "out")
    assert (again.num_rows_now, again.busy_seconds) == (0, 0.0)
    assert again.manifest == done.manifest


def test_the_manifest_says_what_the_job_ran_on(fastbert: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    score(fastbert, path, tmp_path / "out")
    environment = read_manifest_file(tmp_path / "out")["environment"]
    assert environment["model"] == str(fastbert)
    assert environment["device"] == "cpu"
    assert {"torch", "transformers", "apache-beam", "fastbert-jobs"} <= environment.keys()


@pytest.mark.parametrize("name", WRITERS)
def test_progress_goes_by_the_shards_that_appear(
    fastbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    updates: list[dict[str, Any]] = []

    class Bar:
        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def add_task(self, _: str, **fields: Any) -> int:
            updates.append(fields)
            return 0

        def update(self, _: int, **fields: Any) -> None:
            updates.append(fields)

    monkeypatch.setattr(beam_job, "progress_bar", lambda *, rate: Bar())
    path = WRITERS[name](tmp_path / name, {"text": TEXTS})
    score(fastbert, path, tmp_path / "out")
    is_counted = not name.endswith(".gz")
    assert updates[0] == {"total": 60 if is_counted else None, "completed": 0, "rate": ""}
    assert updates[-1]["completed"] == (60 if is_counted else 0)
    completed = [update["completed"] for update in updates]
    assert completed == sorted(completed)


def test_a_file_that_changes_meanwhile_fails_the_job(
    fastbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    from pipeline import manifest

    begin = manifest.begin

    def cut_and_begin(*args: Any, **options: Any) -> Any:
        write_tsv(path, {"text": TEXTS[:50]})
        return begin(*args, **options)

    monkeypatch.setattr(manifest, "begin", cut_and_begin)
    with pytest.raises(InputError, match="changed since the job was planned"):
        score(fastbert, path, tmp_path / "out")
    assert not (tmp_path / "out" / "_MANIFEST.json").exists()
    assert len(OutputLayout(str(tmp_path / "out")).finished_shards()) == 2


def test_a_shard_that_is_damaged_is_made_again(fastbert: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    score(fastbert, path, tmp_path / "out")
    whole = snapshot(tmp_path / "out")
    shard = tmp_path / "out" / "part-00001-of-00003.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    again = score(fastbert, path, tmp_path / "out")
    assert again.num_rows_now == 20
    assert snapshot(tmp_path / "out") == whole


def test_a_shard_that_a_worker_did_not_write_is_missed(
    fastbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    monkeypatch.setattr(beam_job, "_run", lambda *_, **__: 0.0)
    with pytest.raises(
        OutputError, match=r"shard part-00000-of-00003.parquet .* was not written; run the same"
    ):
        score(fastbert, path, tmp_path / "out")
