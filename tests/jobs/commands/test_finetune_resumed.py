from pathlib import Path
from typing import Any

import pytest

from model.training import classifier
from model.training.resume import TrainingState
from tests.job_fixtures import CommandLine, snapshot, write_tsv
from tests.jobs.finetune_fixtures import NAMES, TEXTS, finetune


def test_what_a_killed_run_left_is_to_be_resumed_or_overwritten(
    command: CommandLine, encoder: Path, tmp_path: Path
):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    (tmp_path / "out.partial").mkdir()
    line = command.refused(*finetune(path, encoder, tmp_path / "out"))
    assert line == (f"'{tmp_path}/out.partial' is a killed run's; go on with --resume, or --overwrite it")
    command(*finetune(path, encoder, tmp_path / "out", "--overwrite"))
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize("step", [3, 12, 25])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    command: CommandLine, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
):
    monkeypatch.setitem(TrainingState.__init__.__kwdefaults__, "save_every", 5)
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:80], "label": NAMES[:80]})
    more = ("--eval-input", path, "--class-weights", "balanced")
    command(*finetune(path, encoder, tmp_path / "whole", *more, epochs=3))
    backward, calls = classifier._backward, []

    def fail(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == step:
            raise KeyError("killed")
        return backward(*given)

    with monkeypatch.context() as patch:
        patch.setattr(classifier, "_backward", fail)
        with pytest.raises(KeyError, match="killed"):
            command.run(*finetune(path, encoder, tmp_path / "out", *more, epochs=3))
    line = command.refused(*finetune(path, encoder, tmp_path / "out", *more, epochs=3))
    assert line.endswith("is a killed run's; go on with --resume, or --overwrite it")
    if step > 5:
        line = command.refused(*finetune(path, encoder, tmp_path / "out", "--resume", *more, epochs=4))
        assert "is another run's, which differs in config" in line
    calls.clear()
    command(*finetune(path, encoder, tmp_path / "out", *more, "--resume", epochs=3))
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")
