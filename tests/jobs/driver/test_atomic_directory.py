import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from jobs.driver.atomic_directory import STATE_FILE, AtomicOutputDirectory
from model.checkpoints.hub import METRICS_FILE
from model.errors import OutputError
from tests.job_fixtures import snapshot


def claim(
    path: Path, *, resume: bool | None = False, overwrite: bool = False, sources: tuple[Path, ...] = ()
) -> AtomicOutputDirectory:
    return AtomicOutputDirectory(
        str(path), resume=resume, overwrite=overwrite, sources=tuple(str(source) for source in sources)
    )


def start(working: AtomicOutputDirectory) -> None:
    """Begin, as a run does that is killed then or that goes on."""
    with working.open():
        pass


def write_checkpoint(directory: Path, *, ours: bool = True) -> dict[str, bytes]:
    """Write what looks like a checkpoint of ours or of another, and return its content."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    if ours:
        (directory / METRICS_FILE).write_text('{"config": {}}')
    return snapshot(directory)


def test_what_grows_gets_its_name_when_it_is_whole(tmp_path: Path):
    working = claim(tmp_path / "deep" / "out")
    assert not list(tmp_path.iterdir())
    start(working)
    (working.partial / "weights").write_text("1")
    (working.partial / STATE_FILE).write_text("state")
    assert not working.final.exists()
    working.finish()
    assert [path.name for path in working.final.iterdir()] == ["weights"]
    assert not working.partial.exists()


def test_what_exists_is_refused_unless_it_is_overwritten(tmp_path: Path):
    (tmp_path / "out").mkdir()
    claim(tmp_path / "out")  # an empty directory is as good as none
    (tmp_path / "out").rmdir()
    write_checkpoint(tmp_path / "out")
    for resume in (False, True):
        with pytest.raises(OutputError, match="exists already; choose another `output`, or `overwrite` it"):
            claim(tmp_path / "out", resume=resume)
    working = claim(tmp_path / "out", overwrite=True)
    start(working)
    assert (tmp_path / "out" / "config.json").exists()  # until there is something better
    working.finish()
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_checkpoint_is_refused_and_left_alone(tmp_path: Path, overwrite: bool):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="file' is a file; choose another `output`"):
        claim(tmp_path / "file", overwrite=overwrite)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty and holds no checkpoint that fastbert-jobs"):
        claim(tmp_path / "out", overwrite=overwrite)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"file/out.partial' cannot be written: "):
        start(claim(tmp_path / "file" / "out"))


def test_the_working_directory_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"'\.' is not empty and holds no checkpoint"):
        AtomicOutputDirectory(".", resume=False, overwrite=True)


def test_what_was_killed_is_resumed_or_overwritten(tmp_path: Path):
    killed = claim(tmp_path / "out")
    start(killed)
    (killed.partial / STATE_FILE).write_text("state")
    with pytest.raises(
        OutputError, match=r"out.partial' is a killed run's; go on with `resume`, or `overwrite`"
    ):
        claim(tmp_path / "out")
    resumed = claim(tmp_path / "out", resume=True)
    start(resumed)
    assert (resumed.partial / STATE_FILE).read_text() == "state"
    fresh = claim(tmp_path / "out", overwrite=True)
    start(fresh)
    assert not list(fresh.partial.iterdir())


@pytest.mark.parametrize("left", [".tmpAbCdEf", f"{STATE_FILE}.partial", "model.safetensors", "deep/file"])
def test_what_a_kill_left_half_written_is_not_in_the_checkpoint(tmp_path: Path, left: str):
    killed = claim(tmp_path / "out")
    start(killed)
    for name in (STATE_FILE, METRICS_FILE, left):
        (killed.partial / name).parent.mkdir(exist_ok=True)
        (killed.partial / name).write_text("left")
    resumed = claim(tmp_path / "out", resume=True)
    start(resumed)
    assert (resumed.partial / STATE_FILE).read_text() == "left"  # to go on from
    resumed.finish()
    assert snapshot(tmp_path / "out") == {METRICS_FILE: b"left"}


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}, {"resume": None}])
def test_what_is_no_killed_runs_is_never_emptied(tmp_path: Path, options: dict[str, Any]):
    theirs = tmp_path / "out.partial"
    theirs.mkdir()
    claim(tmp_path / "out", overwrite=True)  # nothing in it: as good as none
    for name in (METRICS_FILE, "thesis.txt", ".tmpAbCdEf"):
        (theirs / name).write_text("{}")
    with pytest.raises(OutputError, match=r"out.partial'.* no killed run's; choose another `output`"):
        claim(tmp_path / "out", **options)
    assert len(list(theirs.iterdir())) == 3


@pytest.mark.parametrize("left", [".tmpAbCdEf", f"{STATE_FILE}.partial", f"{METRICS_FILE}.partial"])
def test_a_run_that_was_killed_before_its_first_state_is_gone_on_from(tmp_path: Path, left: str):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / left).write_text("half")
    working = claim(tmp_path / "out", resume=True)
    start(working)
    assert not list(working.partial.iterdir())


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_weights_may_be_read_by_whom_all_else_may(tmp_path: Path, umask: int, mode: int):
    before = os.umask(umask)
    try:
        working = claim(tmp_path / "out")
        with working.open():
            save_file({"weight": torch.zeros(1)}, working.partial / "model.safetensors")
            (working.partial / "config.json").write_text("{}")
            working.finish()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in working.final.iterdir()} == {mode}


def test_there_need_be_nothing_to_resume(tmp_path: Path):
    working = claim(tmp_path / "out", resume=True)
    start(working)
    working.finish()
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize("name", ["out/", "./out", "sub/../out"])
def test_a_path_may_be_spelt_as_one_likes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    working = AtomicOutputDirectory(name, resume=False, overwrite=False)
    start(working)
    working.finish()
    assert (tmp_path / "out").is_dir()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("metrics", [None, "", "{", "[]", '"config"', '{"eval_loss": 1}'])
def test_a_checkpoint_of_another_program_is_never_overwritten(tmp_path: Path, metrics: str | None):
    write_checkpoint(tmp_path / "out", ours=False)
    if metrics is not None:
        (tmp_path / "out" / METRICS_FILE).write_text(metrics)
    before = snapshot(tmp_path)
    with pytest.raises(OutputError, match="holds no checkpoint that fastbert-jobs wrote; choose another"):
        claim(tmp_path / "out", overwrite=True)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("output", ["model", "model/", "./model", "model/deep", "link", "link/deep", "."])
def test_what_is_read_is_never_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool, output: str
):
    monkeypatch.chdir(tmp_path)
    before = write_checkpoint(tmp_path / "model")
    (tmp_path / "link").symlink_to("model")
    for source in ("model", str(tmp_path / "link")):
        with pytest.raises(OutputError, match="which is read, overlap; choose another `output`"):
            AtomicOutputDirectory(output, overwrite=overwrite, sources=("org/name", source))
    assert snapshot(tmp_path / "model") == before


def test_what_is_read_may_not_be_where_the_checkpoint_grows(tmp_path: Path):
    write_checkpoint(tmp_path / "out.partial")
    with pytest.raises(OutputError, match="which is read, overlap"):
        claim(tmp_path / "out", overwrite=True, sources=(tmp_path / "out.partial",))


def test_what_is_read_may_stand_beside(tmp_path: Path):
    write_checkpoint(tmp_path / "model")
    start(claim(tmp_path / "model2", overwrite=True, sources=(tmp_path / "model",)))


def test_a_linked_output_is_replaced_where_it_is(tmp_path: Path):
    write_checkpoint(tmp_path / "disk" / "out")
    (tmp_path / "out").symlink_to("disk/out")
    working = claim(tmp_path / "out", overwrite=True)
    start(working)
    (working.partial / "new").write_text("new")
    working.finish()
    assert (tmp_path / "out").is_symlink()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]


@pytest.mark.parametrize("step", range(4))
def test_a_kill_in_finish_loses_neither_checkpoint_nor_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
):
    old = write_checkpoint(tmp_path / "out")
    working = claim(tmp_path / "out", overwrite=True)
    start(working)
    (working.partial / "weights").write_text("new")
    (working.partial / STATE_FILE).write_text("state")
    calls = 0

    def until_killed(real: Any) -> Any:
        def call(*given: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > step:
                raise KeyboardInterrupt
            return real(*given, **options)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((Path, "rename"), (Path, "unlink"), (shutil, "rmtree")):
            patch.setattr(owner, name, until_killed(getattr(owner, name)))
        with pytest.raises(KeyboardInterrupt):
            working.finish()
    left = snapshot(tmp_path)
    whole = {name for name, content in left.items() if Path(name).name == "weights" and content == b"new"}
    assert whole == {"out.partial/weights" if step < 2 else "out/weights"}
    if step < 2:  # a resumed run goes on with what was trained
        assert left[f"out.partial/{STATE_FILE}"] == b"state"
    assert all(content in left.values() for content in old.values())


def test_what_cannot_be_renamed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    working = claim(tmp_path / "out")
    start(working)

    def fail(*_: Any) -> Any:
        raise OSError("no more")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match=r"out.partial' cannot be made '.*out': no more"):
        working.finish()


@pytest.mark.parametrize("output", ["gs://bucket/out", "s3://out", "file:///tmp/out"])
def test_a_url_is_refused(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="is no local directory; give a local `output`, and copy it"):
        AtomicOutputDirectory(output, overwrite=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", ["/", "x" * 300, "loop"])
def test_a_name_that_cannot_be_is_one_line(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError) as caught:
        AtomicOutputDirectory(output, overwrite=True)
    assert "\n" not in str(caught.value)


def test_a_command_that_cannot_resume_does_not_say_so(tmp_path: Path):
    start(claim(tmp_path / "out", resume=None))
    with pytest.raises(OutputError, match="run's; choose another `output`, or `overwrite` it"):
        claim(tmp_path / "out", resume=None)
    start(claim(tmp_path / "out", resume=None, overwrite=True))


def test_two_commands_do_not_grow_the_same(tmp_path: Path):
    with claim(tmp_path / "out").open():
        second = claim(tmp_path / "out", overwrite=True)
        (second.partial / "weights").write_text("first")
        with pytest.raises(OutputError, match="another command is at work on "):
            start(second)
        assert (second.partial / "weights").read_text() == "first"
    start(second)


@pytest.mark.parametrize("kind", [OSError, SafetensorError])
def test_a_full_disk_is_one_line(tmp_path: Path, kind: type[Exception]):
    working = claim(tmp_path / "out")

    def fill() -> None:
        with working.open():
            raise kind("No space left on device")

    with pytest.raises(OutputError, match=r"out.partial' cannot be written: No space left on device"):
        fill()


def test_the_state_that_a_kill_left_in_a_finished_checkpoint_goes(tmp_path: Path):
    write_checkpoint(tmp_path / "out")
    (tmp_path / "out" / STATE_FILE).touch()
    with pytest.raises(OutputError, match="exists already"):
        claim(tmp_path / "out", resume=True)
    assert not (tmp_path / "out" / STATE_FILE).exists()
