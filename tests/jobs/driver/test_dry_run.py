from pathlib import Path

import pytest

from tests.job_fixtures import CommandLine, make_texts, snapshot, write_tsv


@pytest.fixture
def line(tmp_path: Path, fastbert: Path) -> list[str]:
    """Scores sixty rows in three shards."""
    path = write_tsv(tmp_path / "rows.tsv", {"text": make_texts(60)})
    return [
        "score", "--input", str(path), "--text-column", "text", "--model", str(fastbert), "--output",
        str(tmp_path / "out"), "--speed", "0.7", "--rows-per-shard", "20",
    ]  # fmt: skip


def test_it_says_what_would_be_done_and_writes_nothing(
    command: CommandLine, tmp_path: Path, line: list[str], fastbert: Path
):
    before = snapshot(tmp_path)
    said = command(*line, "--dry-run").splitlines()
    assert [words.split()[0] for words in said] == ["model", "input", "policy", "runs", "output", "dry"]
    assert said[0].endswith(f"{fastbert}, 3 layers, 3 labels")
    assert said[1].endswith("1 file, 3 shards, 60 rows")
    assert said[4].endswith(f"{tmp_path / 'out'}, nothing is there yet")
    assert said[5] == "dry run: nothing was written or submitted"
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_it_tells_what_is_there(command: CommandLine, tmp_path: Path, line: list[str]):
    command(*line)
    before = snapshot(tmp_path)
    assert "3 shards are there, and would be checked and kept" in command(*line, "--dry-run")
    assert "3 shards are there, and would be deleted" in command(*line, "--dry-run", "--overwrite")
    assert snapshot(tmp_path) == before


def test_it_refuses_what_the_job_would_refuse(command: CommandLine, tmp_path: Path, line: list[str]):
    command(*line)
    before = snapshot(tmp_path)
    assert "holds another job, which differs in" in command.refused(*line, "--keep", "text", "--dry-run")
    assert "SomeRunner cannot be used" in command.refused(*line, "--runner", "no.SomeRunner", "--dry-run")
    assert snapshot(tmp_path) == before


def test_a_teachers_too(command: CommandLine, tmp_path: Path, teacher: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": make_texts(60)})
    said = command(
        "label-teacher", "--input", path, "--text-column", "text", "--teacher", teacher,
        "--output", tmp_path / "out", "--dry-run",
    )  # fmt: skip
    assert said.startswith(f"teacher      {teacher}, 3 labels")
    assert said.endswith("dry run: nothing was written or submitted\n")
    assert not (tmp_path / "out").exists()
