import subprocess
import sys
from pathlib import Path

import pytest

from jobs.driver.directory_lock import lock_directory
from model.errors import OutputError


def lock(directory: Path) -> None:
    with lock_directory(str(directory)):
        pass


def test_one_command_at_a_time_has_a_directory(tmp_path: Path):
    with lock_directory(str(tmp_path / "out")), pytest.raises(OutputError) as error:
        lock(tmp_path / "out")
    assert str(error.value) == (
        f"another command is at work on {str(tmp_path / 'out')!r}; wait for it, or choose another `output`"
    )
    lock(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_who_fails_gives_it_back(tmp_path: Path):
    with pytest.raises(KeyError), lock_directory(str(tmp_path)):
        raise KeyError
    lock(tmp_path)


def test_who_dies_gives_it_back(tmp_path: Path):
    program = (
        "import os, sys\n"
        "from jobs.driver.directory_lock import lock_directory\n"
        "with lock_directory(sys.argv[1]):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(OutputError, match="another command"):
            lock(tmp_path)
        holder.kill()
        holder.wait()
        lock(tmp_path)


def test_names_are_literal(tmp_path: Path):
    with lock_directory(str(tmp_path / "out*")):
        lock(tmp_path / "out1")


def test_where_a_directory_cannot_be_made_it_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written: "):
        lock(tmp_path / "file" / "out")


def test_an_object_store_has_no_locks():
    with lock_directory("gs://bucket/out"), lock_directory("gs://bucket/out"):
        pass
