"""Jobs that are planned, done in parts by whoever gets them, and finished."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.commands.score import run
from jobs.configs.runner import RunnerConfig
from jobs.configs.score import ScoreConfig
from jobs.driver.directory_lock import lock_directory
from model.errors import (
    ArtifactError,
    EnvironmentMismatchError,
    FastBertJobsError,
    InputError,
    OutputError,
    ParameterError,
)
from pipeline.contract.columns import Columns
from pipeline.contract.layout import OutputLayout
from pipeline.contract.worker_errors import MOST_ERRORS, write_worker_error
from pipeline.reading.inputs import inspect_inputs
from pipeline.transforms import prepared_job
from pipeline.transforms.score_task import ScoreTask
from tests.job_fixtures import CommandLine, make_texts, snapshot, write_tsv

TEXTS = make_texts(60)
NUM_ITEMS = 6


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "rows.tsv", {"text": [*TEXTS[:30], "", *TEXTS[30:]]})


@pytest.fixture
def score(fastbert: Path, rows: Path, tmp_path: Path) -> Any:
    def score(output: str = "out", **changes: Any) -> Any:
        steps = {name: changes.pop(name) for name in ("plan_only", "items", "finish") if name in changes}
        config = {
            "input": (str(rows),), "text_column": "text", "model": str(fastbert), "speed": 0.7,
            "rows_per_shard": 11, **changes,
        }  # fmt: skip
        return run(ScoreConfig(output=str(tmp_path / output), runner=RunnerConfig(**steps), **config))

    return score


def without_plan(directory: Path) -> dict[str, bytes]:
    return {name: content for name, content in snapshot(directory).items() if name != "_PLAN.parquet"}


@pytest.mark.parametrize("seed", range(3))
def test_parts_in_any_order_and_twice_give_the_bytes_of_one_job(score: Any, tmp_path: Path, seed: int):
    whole = score("whole")
    assert score(plan_only=True) is None
    parts = ["0:2", "2", "3:5", "4:", "0,5", "1/4"]
    random.Random(seed).shuffle(parts)
    for part in parts:
        assert score(items=part) is None
    done = score(finish=True)
    assert done.manifest.shards == whole.manifest.shards
    assert (done.num_rows, done.num_rejected) == (60, 1)
    assert without_plan(tmp_path / "out") == snapshot(tmp_path / "whole")
    before = snapshot(tmp_path / "out")
    assert score(items="0:6") is None
    assert score(finish=True).manifest == done.manifest
    assert score(plan_only=True) is None
    assert snapshot(tmp_path / "out") == before


def test_the_input_is_looked_at_when_the_job_is_planned_and_not_again(
    score: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    score(plan_only=True)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the input is inspected again")

    monkeypatch.setattr(prepared_job, "inspect_inputs", fail)
    score(items="0:")
    assert score(finish=True).num_rows == 60


def test_what_is_not_done_is_told_and_nothing_is_finished(score: Any, tmp_path: Path):
    score(plan_only=True)
    score(items="0:2,3")
    with pytest.raises(OutputError, match=r"lacks the shards of 3 of 6 items: .* `items` 2,4:6, and"):
        score(finish=True)
    assert not (tmp_path / "out" / "_MANIFEST.json").exists()
    score(items="2,4:6")
    assert score(finish=True).num_rows == 60


def test_a_damaged_shard_is_one_that_is_not_done(score: Any, tmp_path: Path):
    score(plan_only=True)
    score(items="0:")
    shard = tmp_path / "out" / "part-00004-of-00006.parquet"
    content = shard.read_bytes()
    shard.write_bytes(content[:-9])
    with pytest.raises(OutputError, match=r"lacks the shards of 1 of 6 items: .* `items` 4, and"):
        score(finish=True)
    score(items="4")
    assert shard.read_bytes() == content
    score(finish=True)


def test_an_item_that_fails_fails_its_part_alone(score: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    score(plan_only=True)
    process = ScoreTask.process

    def fail_at_third(self: ScoreTask, rows: Any, *args: Any) -> Any:
        if 22 in rows["row"].to_pylist():
            raise RuntimeError("boom")
        return process(self, rows, *args)

    monkeypatch.setattr(ScoreTask, "process", fail_at_third)
    with pytest.raises(FastBertJobsError, match=r"rows 22 to 32: RuntimeError: boom"):
        score(items="1:4")
    score(items="4:")
    with pytest.raises(FastBertJobsError, match="boom"):
        score(finish=True)
    monkeypatch.undo()
    score(items="2")
    score(items="0")
    assert score(finish=True).num_rows == 60


def test_a_part_is_begun_however_many_others_failed(score: Any, tmp_path: Path, rows: Path):
    score(rows_per_shard=2, plan_only=True)
    layout = OutputLayout(str(tmp_path / "out"))
    items = inspect_inputs([str(rows)], Columns(text="text"), rows_per_shard=2).plan().items
    for item in items[:MOST_ERRORS]:
        write_worker_error(layout, item, RuntimeError("boom"))
    score(rows_per_shard=2, items=f"{MOST_ERRORS}:")
    score(rows_per_shard=2, items=f"0:{MOST_ERRORS}")
    assert score(rows_per_shard=2, finish=True).num_rows == 60


def test_parts_stand_side_by_side_and_the_end_waits_for_them(score: Any, tmp_path: Path):
    score(plan_only=True)
    with lock_directory(str(tmp_path / "out"), shared=True):
        score(items="0:")
        with pytest.raises(OutputError, match="another command is at work on"):
            score(finish=True)
    with (
        lock_directory(str(tmp_path / "out")),
        pytest.raises(OutputError, match="another command is at work"),
    ):
        score(items="0")
    score(finish=True)


@pytest.mark.parametrize("step", [{"items": "0:2"}, {"finish": True}])
def test_without_a_plan_there_are_no_parts(score: Any, tmp_path: Path, step: dict[str, Any]):
    with pytest.raises(OutputError, match="has no plan; run the same command with `plan_only` first"):
        score(**step)
    assert not (tmp_path / "out").exists()


def test_items_that_there_are_not_are_refused(score: Any, tmp_path: Path):
    score(plan_only=True)
    with pytest.raises(ParameterError, match="`items` 6:9: there is no item 6; the plan has 6, from 0 on"):
        score(items="6:9")
    score(items="5:9")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"speed": 0.5}, r"speed \(0.7 there, 0.5 asked for\)"),
        ({"rows_per_shard": 20}, r"rows_per_shard \(11 there, 20 asked for\)"),
        ({"keep": ("text",)}, r"keep \(.*\)"),
    ],
)
@pytest.mark.parametrize("step", [{"items": "0"}, {"finish": True}])
def test_a_part_is_of_the_command_that_planned(score: Any, changes: Any, what: str, step: dict[str, Any]):
    score(plan_only=True)
    with pytest.raises(OutputError, match=f"was planned by a command that differs in {what}; give the same"):
        score(**step, **changes)


def test_a_model_that_changed_is_another_job(score: Any, fastbert: Path, tmp_path: Path):
    model = tmp_path / "model"
    model.mkdir()
    for path in fastbert.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    score(model=str(model), plan_only=True)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_length": config["max_length"] - 1}))
    with pytest.raises(OutputError, match="was planned for another job, which differs in model_hash"):
        score(model=str(model), items="0")


def test_other_libraries_are_refused(score: Any, monkeypatch: pytest.MonkeyPatch):
    score(plan_only=True)
    monkeypatch.setattr("pipeline.contract.worker_environment.version", lambda _: "0.1")
    with pytest.raises(EnvironmentMismatchError, match=r"has .* 0.1, and the job was started with"):
        score(items="0")


def test_a_damaged_plan_is_one_line(score: Any, tmp_path: Path):
    score(plan_only=True)
    plan = tmp_path / "out" / "_PLAN.parquet"
    plan.write_bytes(plan.read_bytes()[:-5])
    with pytest.raises(ArtifactError, match=r"_PLAN.parquet' is damaged: .*`plan_only` again"):
        score(items="0")
    score(plan_only=True)
    score(items="0")


def test_a_file_that_changed_since_fails_its_items(score: Any, rows: Path):
    score(plan_only=True)
    rows.write_text(rows.read_text() + "one more\n")
    with pytest.raises(InputError, match="changed since the job was planned"):
        score(items="0")


def test_a_job_that_was_planned_can_be_run_as_any_other(score: Any, tmp_path: Path):
    score(plan_only=True)
    score(items="1:3")
    done = score()
    assert (done.num_rows, done.num_rows_now) == (60, 39)
    score("whole")
    assert without_plan(tmp_path / "out") == snapshot(tmp_path / "whole")
    score(overwrite=True, plan_only=True)
    assert sorted(snapshot(tmp_path / "out")) == ["_JOB.json", "_PLAN.parquet"]


def test_one_step_at_a_time():
    with pytest.raises(ParameterError, match="give one of `dry_run`, `plan_only`, `items`, `finish`"):
        RunnerConfig(items="0", finish=True)
    with pytest.raises(ParameterError, match="are no items"):
        RunnerConfig(items="all")


def test_the_steps_say_what_is_next(command: CommandLine, teacher: Path, rows: Path, tmp_path: Path):
    words = (
        "label-teacher", "--input", rows, "--text-column", "text", "--teacher", teacher, "--output",
        tmp_path / "out", "--rows-per-shard", 11, "--calibration-fraction", 0.5,
    )  # fmt: skip
    out = command(*words, "--plan-only")
    assert "planned: 6 items" in out
    assert "next: this command with --items 0:6 in place of --plan-only" in out
    assert "done: items 0:2 of 6" in command(*words, "--items", "0:2")
    assert "done: items 0:6 of 6, 2 of them before" in command(*words, "--items", "0:")
    assert "nothing to do: there are 6 items, and none of them is of this part" in command(
        *words, "--items", "0/40"
    )
    assert "60 rows, 1 rejected (61 of them finished before)" in command(*words, "--finish")


def test_a_job_for_gpus_is_planned_without_one_and_done_by_who_has_one(
    command: CommandLine,
    fastbert: Path,
    teacher: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    read = ("--input", rows, "--text-column", "text", "--device", "cuda", "--precision", "bf16")
    score = ("score", *read, "--model", fastbert, "--speed", 0.7, "--output", tmp_path / "scores")
    label = ("label-teacher", *read, "--teacher", teacher, "--output", tmp_path / "labels")
    for words in (score, label):
        assert "cuda, bf16 by torch" in command(*words, "--plan-only")
        line = command.refused(*words, "--items", 0)
        assert line == "--device cuda: torch finds no GPU on this machine"
        assert "no GPU" in command.refused(*words)
    description = json.loads((tmp_path / "scores" / "_JOB.json").read_text())
    assert (description["device"], description["backend"]) == ("cuda", "torch")
