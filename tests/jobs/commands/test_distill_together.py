"""Distillation on several processes: they leave what one leaves."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from jobs.commands import distill
from jobs.configs.distill import DistillConfig
from jobs.terminal.launch import Launch
from model.training import branches
from model.training.ranks import ONE_PROCESS
from model.training.resume import TrainingState
from tests.job_fixtures import make_texts
from tests.jobs.calibration_fixtures import label
from tests.model.training.thread_ranks import run_ranks

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Path:
    return label(tmp_path_factory.mktemp("labels"), teacher, make_texts(400))


@pytest.fixture
def config(teacher: Path, labels: Path, tmp_path: Path) -> Callable[..., DistillConfig]:
    def make(name: str, **options: Any) -> DistillConfig:
        given = {"epochs": "2", "batch_size": 32, "precision": "fp32", "lexical_size": 1.0, **options}
        return DistillConfig(
            labels=(str(labels),), backbone=str(teacher), output=str(tmp_path / name), **given
        )

    return make


@pytest.fixture(autouse=True)
def saved_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TrainingState.__init__.__kwdefaults__, "save_every", 5)


@pytest.fixture
def run_together(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Return what runs the command as if in so many processes, which are threads."""
    lock, load = Lock(), distill.load_fastbert

    def load_alone(*given: Any) -> Any:
        # Threads have one random generator.
        with lock:
            return load(*given)

    def run(size: int, config: DistillConfig) -> list[Any]:
        def one(ranks: Any) -> Any:
            launch = Launch(
                rank=ranks.rank, size=size, local_rank=ranks.rank, local_size=size,
                master_address="localhost", master_port=1, attempt=0,
            )  # fmt: skip
            groups[launch] = ranks
            return distill._follow(config, launch) if ranks.rank else distill._lead(config, launch)

        return run_ranks(size, one)

    groups: dict[Launch | None, Any] = {None: ONE_PROCESS}

    @contextmanager
    def group(launch: Launch, _: torch.device) -> Any:
        yield groups[launch]

    monkeypatch.setattr(distill, "load_fastbert", load_alone)
    with monkeypatch.context() as patch:
        patch.setattr(distill, "process_group", group)
        yield run


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the training end before a step."""
    compute, calls = branches.sum_gradients, []

    def fail(ranks: Any, *given: Any) -> Any:
        calls.append(ranks.rank)
        if calls.count(ranks.rank) == step:
            raise KeyError("killed")
        return compute(ranks, *given)

    monkeypatch.setattr(branches, "sum_gradients", fail)


def assert_alike(one: Path, other: Path) -> None:
    """Hold the weights of two FastBERTs against each other."""
    weights, others = (load_file(directory / "model.safetensors") for directory in (one, other))
    assert weights.keys() == others.keys()
    assert any(name.startswith("lexical_branch.") for name in weights)
    for name, value in weights.items():
        np.testing.assert_allclose(others[name], value, rtol=1e-4, atol=2e-5, err_msg=name)
    files = [{path.name for path in directory.iterdir()} for directory in (one, other)]
    assert files[0] == files[1]


def test_two_leave_what_one_leaves_and_the_first_speaks(
    config: Callable[..., DistillConfig],
    run_together: Callable[..., list[Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    distill.run(config("one"))
    assert "process" not in capsys.readouterr().out
    first, second = run_together(2, config("two"))
    assert_alike(tmp_path / "one", tmp_path / "two")
    out = capsys.readouterr().out
    assert out.count("2 processes of 1 thread\n") == out.count("wrote") == out.count("next: ") == 1
    assert first.output == second.output
    assert first.metrics.branches[1:] == second.metrics.branches
    assert first.metrics.rounds == second.metrics.rounds


def test_what_two_began_one_ends(
    config: Callable[..., DistillConfig],
    run_together: Callable[..., list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    distill.run(config("whole"))
    with monkeypatch.context() as patch:
        kill_at(13, patch)
        with pytest.raises(KeyError, match="killed"):
            run_together(2, config("out"))
    steps: list[int] = []
    monkeypatch.setattr(branches, "sum_gradients", lambda _, __, losses: steps.append(1) or losses)
    distill.run(config("out", resume=True))
    assert_alike(tmp_path / "whole", tmp_path / "out")
    # Two epochs of 7 steps, of which 10 were saved.
    assert len(steps) == 4


@pytest.mark.parametrize(("rank", "said"), [("0", "lead\n"), ("1", "")])
def test_the_first_of_torchruns_processes_leads_and_the_others_are_silent(
    config: Callable[..., DistillConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rank: str,
    said: str,
):
    numbers = {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}
    for name, value in {**numbers, "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)

    def speak(name: str) -> Callable[..., int]:
        def called(config: DistillConfig, launch: Launch) -> int:
            sys.stdout.write(f"{name}\n")
            sys.stderr.write(f"{name}\n")
            return launch.rank

        return called

    monkeypatch.setattr(distill, "_lead", speak("lead"))
    monkeypatch.setattr(distill, "_follow", speak("follow"))
    assert distill.run(config("out")) == int(rank)
    assert capsys.readouterr() == (said, said)


# -- real processes -----------------------------------------------------------------------------------


def torchrun(config: DistillConfig, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command in two processes."""
    given = (
        "--labels", *config.labels, "--backbone", config.backbone, "--output", config.output, "--epochs",
        config.epochs, "--batch-size", config.batch_size, "--precision", config.precision, "--lexical-size",
        config.lexical_size, *more,
    )  # fmt: skip
    started = ("-m", "torch.distributed.run", "--nproc-per-node", 2, "-m", "jobs", "distill")
    return subprocess.run(
        [sys.executable, *map(str, started), *map(str, given)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def test_what_one_process_began_torchrun_ends_with_two(
    config: Callable[..., DistillConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    distill.run(config("whole"))
    with monkeypatch.context() as patch:
        kill_at(13, patch)
        with pytest.raises(KeyError, match="killed"):
            distill.run(config("out"))
    done = torchrun(config("out"), "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 processes of 1 thread\n") == done.stdout.count("wrote") == 1
    assert_alike(tmp_path / "whole", tmp_path / "out")


def test_a_mistake_ends_all_of_them_and_is_told_once(config: Callable[..., DistillConfig], tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    done = torchrun(config("out"))
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("fastbert-jobs: ")]
    assert lines == [f"fastbert-jobs: '{tmp_path}/out' is a file; choose another --output"]
    assert "exitcode  : 2" in done.stderr
    assert done.stdout == ""
