import errno
import gzip
import inspect
import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import RunnerResult

from jobs.commands.score import run
from jobs.configs.runner import RunnerConfig
from jobs.configs.score import ScoreConfig
from jobs.driver import beam_driver, shard_progress
from jobs.driver.directory_lock import lock_directory
from jobs.driver.job_outcome import JobOutcome
from model.errors import InputError, OutputError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import Manifest, ScoreManifest
from pipeline.contract.work_times import Phase, RunTimes, WorkTimes, read_run_times
from pipeline.transforms import corpus_job
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.score_task import ScoreTask
from tests.job_fixtures import WRITERS, CommandLine, make_texts, read_manifest_file, snapshot, write_tsv

TEXTS = make_texts(60)
NAMES = [f"part-0000{index}-of-00003.parquet" for index in range(3)]


def outcome(*, rows: int, rejected: int, now: int, seconds: float = 2.0) -> JobOutcome[Manifest]:
    counts = {"rows": rows, "rejected": rejected}
    manifest = Manifest(
        command="score", fingerprint="", numerics_version=1, labels=(), inputs=(), versions={}, shards=(),
        counts=counts,
    )  # fmt: skip
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
def test_rows_are_summed_up_in_one_line(made: JobOutcome[Manifest], line: str):
    assert made.describe_rows() == line


def score(fastbert: Path, path: Path, output: Path, **changes: Any) -> JobOutcome[ScoreManifest]:
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


@pytest.mark.parametrize("workers", [1, 2])
def test_every_run_that_did_something_says_what_it_took(
    fastbert: Path, tmp_path: Path, forked_workers: None, workers: int
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": [*TEXTS, ""]})
    layout = OutputLayout(str(tmp_path / "out"))

    def runs(**changes: Any) -> list[RunTimes]:
        done = score(fastbert, path, tmp_path / "out", runner=RunnerConfig(workers=workers), **changes)
        return read_run_times(layout, done.manifest.fingerprint)

    (first,) = runs()
    assert first.work.num_rows == 61
    assert set(first.work.phases) == set(Phase)
    assert {"embeddings", "layer_1", "branch_1"} <= set(first.work.parts)
    assert first.wall_seconds > 0
    assert runs() == [first]
    (tmp_path / "out" / "part-00001-of-00004.parquet").unlink()
    assert sorted(run.work.num_rows for run in runs()) == [20, 61]
    assert len(runs(overwrite=True)) == 1


def test_the_manifest_says_what_the_job_ran_on(fastbert: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    score(fastbert, path, tmp_path / "out")
    manifest = read_manifest_file(tmp_path / "out")
    assert manifest["model"] == str(fastbert)
    assert manifest["settings"]["device"] == "cpu"
    assert {"torch", "transformers", "apache-beam", "fastbert-jobs"} <= manifest["versions"].keys()


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

    monkeypatch.setattr(shard_progress, "progress_bar", lambda *, rate: Bar())
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
    claim = CorpusJob.claim

    def cut_and_claim(job: CorpusJob[Any]) -> set[str]:
        write_tsv(path, {"text": TEXTS[:50]})
        return claim(job)

    monkeypatch.setattr(CorpusJob, "claim", cut_and_claim)
    with pytest.raises(InputError, match="changed since the job was planned"):
        score(fastbert, path, tmp_path / "out")
    assert not (tmp_path / "out" / "_MANIFEST.json").exists()
    assert OutputLayout(str(tmp_path / "out")).finished_shards() == []


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
    monkeypatch.setattr(beam_driver, "_run", lambda *_, **__: WorkTimes())
    with pytest.raises(
        OutputError, match=r"shard part-00000-of-00003.parquet .* was not written; run the same"
    ):
        score(fastbert, path, tmp_path / "out")


def test_an_item_that_fails_is_named_and_the_trace_is_there_for_who_asks(
    fastbert: Path, tmp_path: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    process = ScoreTask.process

    def fail_at_third(self: ScoreTask, rows: Any, *args: Any) -> Any:
        if rows["row"][0].as_py() == 40:
            raise KeyError("a defect")
        return process(self, rows, *args)

    monkeypatch.setattr(ScoreTask, "process", fail_at_third)
    args = (
        "score", "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.7,
        "--output", tmp_path / "out", "--rows-per-shard", 20,
    )  # fmt: skip
    line = f"fastbert-jobs: {path}, rows 40 to 59: KeyError: 'a defect'"
    status, _, err = command.run(*args)
    assert (status, err.splitlines()[-1]) == (2, line)
    assert "Traceback" not in err
    assert len(OutputLayout(str(tmp_path / "out")).finished_shards()) == 2
    status, _, err = command.run("--verbose", *args)
    assert (status, err.splitlines()[-1]) == (2, line)
    assert "in fail_at_third" in err


def test_a_full_disk_is_one_line(
    fastbert: Path, tmp_path: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    replace = Path.replace

    def full_but_for_the_job(self: Path, target: str) -> Path:
        return replace(self, target) if target.endswith("_JOB.json") else full()  # type: ignore[return-value]

    monkeypatch.setattr(Path, "replace", full_but_for_the_job)
    status, _, err = command.run(
        "score", "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.7,
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert status == 2
    assert "No space left on device" in err.splitlines()[-1]
    assert "Traceback" not in err
    monkeypatch.undo()
    assert score(fastbert, path, tmp_path / "out", rows_per_shard=10_000).num_rows == 60


@pytest.mark.parametrize("workers", [1, 2])
def test_two_commands_on_a_directory_do_not_meet(
    fastbert: Path, tmp_path: Path, forked_workers: None, workers: int
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    runner = RunnerConfig(workers=workers)
    with (
        lock_directory(str(tmp_path / "out")),
        pytest.raises(OutputError, match="another command is at work on "),
    ):
        score(fastbert, path, tmp_path / "out", runner=runner)
    assert list((tmp_path / "out").iterdir()) == []
    assert score(fastbert, path, tmp_path / "out", runner=runner).num_rows == 60


def write_broken_off(path: Path) -> Path:
    """Write a compressed file whose end is missing, far behind what is looked at before the job."""
    draw = random.Random(0)
    lines = "".join(f"calm dune {draw.random()}\n" for _ in range(60_000))
    path.write_bytes(gzip.compress(f"text\n{lines}".encode())[:-500])
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_a_users_mistake_in_a_worker_is_raised_as_such_and_is_no_traceback(
    fastbert: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], workers: int
):
    path = write_broken_off(tmp_path / "rows.csv.gz")
    with pytest.raises(InputError) as error:
        score(fastbert, path, tmp_path / "out", runner=RunnerConfig(workers=workers))
    assert str(error.value).startswith(f"{path}: cannot be read: ")
    assert "while running" not in str(error.value)
    assert not (tmp_path / "out" / "_MANIFEST.json").exists()
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err


def test_what_was_mended_after_a_mistake_is_finished(fastbert: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    whole = score(fastbert, path, tmp_path / "whole")
    job = CorpusJob.claim

    with pytest.MonkeyPatch.context() as patch:

        def claim_and_cut(self: CorpusJob[Any]) -> set[str]:
            finished = job(self)
            write_tsv(path, {"text": TEXTS[:50]})
            return finished

        patch.setattr(CorpusJob, "claim", claim_and_cut)
        with pytest.raises(InputError, match="changed since the job was planned"):
            score(fastbert, path, tmp_path / "out")
    write_tsv(path, {"text": TEXTS})
    assert score(fastbert, path, tmp_path / "out").manifest == whole.manifest
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_a_progress_bar_that_fails_does_not_fail_the_job(
    fastbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})

    def finished_shards(layout: OutputLayout) -> list[str]:
        asks = inspect.currentframe().f_back.f_code.co_filename
        if asks == shard_progress.__file__ and (Path(layout.directory) / NAMES[0]).exists():
            raise OSError("no network")
        return sorted(file.name for file in Path(layout.directory).glob("part-*"))

    monkeypatch.setattr(OutputLayout, "finished_shards", finished_shards)
    with caplog.at_level(logging.WARNING, logger=shard_progress.__name__):
        assert score(fastbert, path, tmp_path / "out").num_rows == 60
    assert "progress is unknown: no network" in caplog.text


def test_a_progress_bar_that_fails_does_not_hide_what_failed(
    fastbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        monkeypatch.setattr(OutputLayout, "finished_shards", lambda _: 1 / 0)
        raise KeyError("the job's own")

    monkeypatch.setattr(beam_driver, "_run", fail)
    with pytest.raises(KeyError, match="the job's own"):
        score(fastbert, write_tsv(tmp_path / "rows.tsv", {"text": TEXTS}), tmp_path / "out")


def test_a_job_whose_metrics_fail_is_finished_all_the_same(
    fastbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_: object, **__: object) -> object:
        raise OSError("no metrics")

    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    monkeypatch.setattr(RunnerResult, "metrics", fail)
    with caplog.at_level(logging.WARNING, logger=beam_driver.__name__):
        outcome = score(fastbert, path, tmp_path / "out")
    assert (outcome.num_rows, outcome.busy_seconds) == (60, 0.0)
    assert "the runner does not tell how long workers took: no metrics" in caplog.text
    assert read_manifest_file(tmp_path / "out")["counts"]["rows"] == 60


def test_shards_of_other_library_versions_are_made_again(
    fastbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": [*TEXTS, ""]})
    score(fastbert, path, tmp_path / "out")
    whole = snapshot(tmp_path / "out")
    assert score(fastbert, path, tmp_path / "out").num_rows_now == 0
    assert snapshot(tmp_path / "out") == whole
    versions = {**corpus_job.library_versions(), "torch": "9.9"}
    monkeypatch.setattr(corpus_job, "library_versions", lambda: versions)
    assert score(fastbert, path, tmp_path / "out").num_rows_now == 61
    changed = snapshot(tmp_path / "out")
    assert changed.keys() == whole.keys()
    assert all(b"9.9" in content for name, content in changed.items() if name != "_JOB.json")
    monkeypatch.undo()
    score(fastbert, path, tmp_path / "out")
    assert snapshot(tmp_path / "out") == whole
