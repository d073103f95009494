from pathlib import Path

import pytest

from jobs.checkpoint_output import STATE_FILE, WorkingDirectory
from model.errors import OutputError


def claim(path: Path, *, resume: bool = False, overwrite: bool = False) -> WorkingDirectory:
    return WorkingDirectory(str(path), resume=resume, overwrite=overwrite)


def test_what_grows_gets_its_name_when_it_is_whole(tmp_path: Path):
    working = claim(tmp_path / "deep" / "out")
    assert not list(tmp_path.iterdir())
    working.start()
    (working.partial / "weights").write_text("1")
    (working.partial / STATE_FILE).write_text("state")
    assert not working.final.exists()
    working.finish()
    assert [path.name for path in working.final.iterdir()] == ["weights"]
    assert not working.partial.exists()


def test_what_exists_is_refused_unless_it_is_overwritten(tmp_path: Path):
    (tmp_path / "out").mkdir()
    claim(tmp_path / "out")  # an empty directory is as good as none
    (tmp_path / "out" / "config.json").write_text("{}")
    for resume in (False, True):
        with pytest.raises(OutputError, match="exists already; choose another --output, or --overwrite it"):
            claim(tmp_path / "out", resume=resume)
    working = claim(tmp_path / "out", overwrite=True)
    working.start()
    assert (tmp_path / "out" / "config.json").exists()  # until there is something better
    working.finish()
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_checkpoint_is_refused_and_left_alone(tmp_path: Path, overwrite: bool):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="file' is a file; choose another --output"):
        claim(tmp_path / "file", overwrite=overwrite)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty and holds no checkpoint; choose another --output"):
        claim(tmp_path / "out", overwrite=overwrite)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"file/out.partial' cannot be written: "):
        claim(tmp_path / "file" / "out").start()


def test_the_working_directory_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"'\.' is not empty and holds no checkpoint"):
        WorkingDirectory(".", resume=False, overwrite=True)


def test_what_was_killed_is_resumed_or_overwritten(tmp_path: Path):
    killed = claim(tmp_path / "out")
    killed.start()
    (killed.partial / STATE_FILE).write_text("state")
    with pytest.raises(
        OutputError, match=r"out.partial' is a killed run's; go on with --resume, or --overwrite"
    ):
        claim(tmp_path / "out")
    resumed = claim(tmp_path / "out", resume=True)
    resumed.start()
    assert (resumed.partial / STATE_FILE).read_text() == "state"
    fresh = claim(tmp_path / "out", overwrite=True)
    fresh.start()
    assert not list(fresh.partial.iterdir())


def test_there_need_be_nothing_to_resume(tmp_path: Path):
    working = claim(tmp_path / "out", resume=True)
    working.start()
    working.finish()
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize("name", ["out/", "./out", "sub/../out"])
def test_a_path_may_be_spelt_as_one_likes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    working = WorkingDirectory(name, resume=False, overwrite=False)
    working.start()
    working.finish()
    assert (tmp_path / "out").is_dir()
    assert not list(tmp_path.glob("*.partial"))
