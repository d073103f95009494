"""Which GPU a process uses; told of by locks, so no GPU is needed."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from model.engine import gpus

# Takes one of so many GPUs, says which, and holds it until its input ends.
HOLD = """
import sys
from pathlib import Path
from model.engine.gpus import _lock_first_free

print(_lock_first_free(Path(sys.argv[1]), sys.argv[2:]), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def nothing_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpus, "_taken", None)
    monkeypatch.setattr(gpus.tempfile, "tempdir", str(tmp_path))


def have(monkeypatch: pytest.MonkeyPatch, num_gpus: int, *, current: int = 0) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"uuid-{index}")
    )


def test_processes_share_out_the_gpus_and_who_dies_gives_his_back(tmp_path: Path):
    names = ["a", "b", "c"]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), *names],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "0\n"
    # A lock is the file's that was opened, so this process stands for three more.
    assert [gpus._lock_first_free(tmp_path, names) for _ in range(3)] == [1, 2, 0]
    process.kill()
    process.communicate()
    assert [gpus._lock_first_free(tmp_path, names) for _ in range(3)] == [0, 1, 2]


def test_a_gpu_is_taken_once(monkeypatch: pytest.MonkeyPatch):
    have(monkeypatch, 3, current=2)
    assert gpus.own_gpu() == 2
    gpus.take_gpu()
    assert gpus.own_gpu() == 0
    gpus.take_gpu()
    assert gpus.device_named("cuda") == torch.device("cuda", 0)
    # As another process would.
    monkeypatch.setattr(gpus, "_taken", None)
    gpus.take_gpu()
    assert gpus.device_named("cuda") == torch.device("cuda", 1)
    assert gpus.device_named("cpu") == torch.device("cpu")


def test_of_one_gpu_there_is_nothing_to_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    have(monkeypatch, 1)
    gpus.take_gpu()
    assert gpus.own_gpu() == 0
    assert not list(tmp_path.iterdir())


def test_a_directory_of_somebody_else_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"fastbert-jobs-{os.getuid()}").symlink_to(tmp_path / "theirs")
    have(monkeypatch, 2)
    gpus.take_gpu()
    assert gpus.own_gpu() == 0
    assert not list((tmp_path / "theirs").iterdir())


@pytest.mark.parametrize(("capability", "is_new"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_before_ampere_have_no_attention_over_packed_texts(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], is_new: bool
):
    have(monkeypatch, 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert gpus.has_variable_length_attention() is is_new
