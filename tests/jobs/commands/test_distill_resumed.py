"""Distillation that was killed: it goes on, or is begun anew."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.driver.atomic_directory import STATE_FILE
from model.training import branches
from model.training.resume import TrainingState
from tests.job_fixtures import CommandLine
from tests.jobs.distill_fixtures import distill


@pytest.mark.parametrize("step", [1, 7, 12, 17])
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(
    command: CommandLine,
    soft_labels: Path,
    teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
):
    monkeypatch.setitem(TrainingState.__init__.__kwdefaults__, "save_every", 5)
    args = distill(soft_labels, teacher, tmp_path / "out", epochs=2)
    command(*distill(soft_labels, teacher, tmp_path / "whole", epochs=2))
    losses, calls = branches.branch_gradients, []

    def fail(*given: Any, **options: Any) -> Any:
        calls.append(given)
        if len(calls) == step:
            raise KeyError("killed")
        return losses(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(branches, "branch_gradients", fail)
        with pytest.raises(KeyError, match="killed"):
            command.run(*args)
    assert not (tmp_path / "out").exists()
    line = command.refused(*args)
    assert line == f"'{tmp_path}/out.partial' is a killed run's; go on with --resume, or --overwrite it"
    if step > 5:
        line = command.refused(*args, "--learning-rate", 0.5, "--resume")
        assert "is another run's, which differs in learning_rate (0.001 there, 0.5 asked for)" in line
    calls.clear()
    command(*args, "--resume")
    one, two = tmp_path / "out" / "model.safetensors", tmp_path / "whole" / "model.safetensors"
    assert one.read_bytes() == two.read_bytes()
    # What was judged before the kill is not forgotten either.
    for name in ("metrics.json", "distill.html"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "out.partial").exists()


def test_a_resumed_run_does_not_repeat_what_was_saved(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(TrainingState.__init__.__kwdefaults__, "save_every", 5)
    losses, calls = branches.branch_gradients, []

    def count(*given: Any, **options: Any) -> Any:
        calls.append(given)
        if len(calls) == 8:
            raise KeyError("killed")
        return losses(*given, **options)

    monkeypatch.setattr(branches, "branch_gradients", count)
    args = distill(soft_labels, teacher, tmp_path / "out")
    with pytest.raises(KeyError, match="killed"):
        command.run(*args)
    command(*args, "--resume")
    steps = -(-json.loads((tmp_path / "out" / "metrics.json").read_text())["num_train_rows"] // 32)
    assert len(calls) == 8 + steps - 5


def test_a_killed_run_may_be_overwritten(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    (tmp_path / "out.partial").mkdir()
    for name in (STATE_FILE, "junk"):
        (tmp_path / "out.partial" / name).touch()
    command(*distill(soft_labels, teacher, tmp_path / "out", "--overwrite"))
    assert not (tmp_path / "out" / "junk").exists()
    assert "exists already; choose another --output, or --overwrite it" in command.refused(
        *distill(soft_labels, teacher, tmp_path / "out")
    )
    command(*distill(soft_labels, teacher, tmp_path / "out", "--overwrite"))
