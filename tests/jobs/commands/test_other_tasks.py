"""The whole line for models that answer with a score, with several labels at once, or by a cut."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from jobs.commands.calibrate import run as run_calibrate
from jobs.commands.distill import run as run_distill
from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.distill import DistillConfig
from model.answers.task import Task
from model.exits.teacher import teacher_logits
from model.tokens.tokenization import tokenize
from pipeline.contract.layout import OutputLayout
from tests.job_fixtures import MAX_LENGTH, CommandLine, read_output, write_classifier, write_tsv
from tests.jobs.calibration_fixtures import FP32, FRESH, TEXTS, assert_at_most, label

pytestmark = pytest.mark.usefixtures("quiet_machine")

LABELS = {Task.SCORE: ("quality",), Task.LABEL_SET: ("toxic", "insult", "threat")}
# What each is decided by, and what a row may be called.
DECIDE = {Task.SCORE: (">=0.5",), Task.LABEL_SET: ("insult>=0.7",)}
NAME = {Task.SCORE: ">=0.5", Task.LABEL_SET: "insult"}
NUM_FRESH = 2000


@dataclass(frozen=True)
class Line:
    """What the commands left, and what the teacher answers to fresh texts."""

    task: Task
    teacher: Path
    labels: Path
    model: Path
    fresh: Path
    full_depth: np.ndarray

    def calls(self) -> np.ndarray:
        """Which fresh rows the teacher calls by the name that promises are made of."""
        if self.task is Task.SCORE:
            return self.full_depth[:, 0] >= 0.5
        return self.full_depth[:, 1] >= np.log(0.7 / 0.3)


def teacher_answers(directory: Path, texts: list[str]) -> np.ndarray:
    """What Hugging Face's own model answers."""
    model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenized = tokenize(tokenizer, texts, max_length=MAX_LENGTH)
    return teacher_logits(model, tokenizer, tokenized, token_budget=4096)


@pytest.fixture(scope="module", params=[Task.SCORE, Task.LABEL_SET])
def line(request, tmp_path_factory: pytest.TempPathFactory, quiet_machine: None) -> Line:
    task: Task = request.param
    home = tmp_path_factory.mktemp("line")
    teacher = write_classifier(home / "teacher", labels=LABELS[task], hidden_size=128, problem_type=str(task))
    labels, model = label(home / "labelled", teacher, TEXTS[:4000]), home / "fastbert"
    run_distill(
        DistillConfig(
            labels=(str(labels),), backbone=str(teacher), output=str(model), epochs=4, precision="fp32",
            learning_rate=3e-3,
        )
    )  # fmt: skip
    run_calibrate(
        CalibrateConfig(model=str(model), labels=(str(labels),), precision="fp32", decide=DECIDE[task])
    )
    fresh = FRESH[:NUM_FRESH]
    return Line(
        task=task,
        teacher=teacher,
        labels=labels,
        model=model,
        fresh=write_tsv(home / "fresh.tsv", {"text": fresh}),
        full_depth=teacher_answers(teacher, fresh),
    )


@pytest.fixture
def score(command: CommandLine, line: Line, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Return what scoring the fresh texts leaves, in their order."""

    def run(*more: Any) -> pd.DataFrame:
        output = tmp_path / "scores"
        command(
            "score", *FP32, "--input", line.fresh, "--text-column", "text", "--model", line.model,
            "--output", output, "--shadow-fraction", 0.5, "--overwrite", *more,
        )  # fmt: skip
        return read_output(output).to_pandas().sort_values("row", ignore_index=True)

    return run


def test_soft_labels_tell_the_teachers_answer(line: Line):
    rows = read_output(line.labels).to_pandas()
    logits = np.stack(rows["teacher_logits"])
    assert logits.shape[1] == len(LABELS[line.task])
    if line.task is Task.SCORE:
        np.testing.assert_array_equal(rows["teacher_score"], logits[:, 0])
    else:
        named = [set(each) for each in rows["teacher_predictions"]]
        assert named == [{LABELS[line.task][k] for k in np.flatnonzero(row >= 0)} for row in logits]
    assert "teacher_prediction" not in rows.columns


def test_pages_are_of_the_task(line: Line):
    measure = "spread around the teacher" if line.task is Task.SCORE else "KL(teacher || student)"
    assert measure in (line.model / "distill.html").read_text()
    assert (
        f"Compared are {DECIDE[line.task][0].replace('>', '&gt;')}"
        in (line.model / "calibration.html").read_text()
    )


def test_full_depth_is_the_hugging_face_model(line: Line, score: Callable[..., pd.DataFrame]):
    rows = score("--speed", 0)
    assert (rows["exit_layer"] == rows["exit_layer"].max()).all()
    if line.task is Task.SCORE:
        # Weights of the tests' models are eight times as large as real ones, and so is their rounding.
        np.testing.assert_allclose(rows["score"], line.full_depth[:, 0], rtol=0, atol=5e-5)
        assert (rows["uncertainty"] == 0).all()
        assert "probabilities" not in rows.columns
    else:
        shares = torch.from_numpy(line.full_depth).sigmoid().numpy()
        np.testing.assert_allclose(np.stack(rows["probabilities"]), shares, rtol=0, atol=1e-5)


def test_promises_of_decisions_hold_on_fresh_rows_and_save(line: Line, score: Callable[..., pd.DataFrame]):
    name = NAME[line.task]
    # A cut may be written in another way than it was decided by.
    missed = ">=0.50=0.15" if line.task is Task.SCORE else f"{name}=0.15"
    rows = score("--max-disagreement", 0.1, "--max-missed", missed, "--max-false", f"{name}=0.15")
    if line.task is Task.SCORE:
        called = rows["decision"].to_numpy()
        np.testing.assert_array_equal(called, rows["score"] >= np.float32(0.5))
        differs = called != line.calls()
    else:
        sets = [set(each) for each in rows["predictions"]]
        called = np.array([name in each for each in sets])
        cuts = np.array([0, np.log(0.7 / 0.3), 0], dtype=np.float32)
        by_teacher = [{LABELS[line.task][k] for k in np.flatnonzero(row >= cuts)} for row in line.full_depth]
        differs = np.array([own != other for own, other in zip(sets, by_teacher, strict=True)])
    assert_at_most(0.1, differs)
    assert_at_most(0.15, ~called[line.calls()])
    assert_at_most(0.15, ~line.calls()[called])
    assert (rows["exit_layer"] < rows["exit_layer"].max()).mean() > 0.1
    # The shadow sample is told what full depth answers, and nobody else is.
    column = "teacher_decision" if line.task is Task.SCORE else "teacher_predictions"
    shadow = rows[column].notna()
    assert 0 < shadow.sum() < len(rows)
    assert rows.loc[shadow, "unit_hash"].notna().all()
    if line.task is Task.SCORE:
        assert (rows.loc[shadow, column].astype(bool) == line.calls()[shadow]).all()


def test_audit_counts_what_the_shards_say(
    line: Line, score: Callable[..., pd.DataFrame], command: CommandLine, tmp_path: Path
):
    rows = score("--max-disagreement", 0.1, "--max-false", f"{NAME[line.task]}=0.2")
    told = command("audit", tmp_path / "scores")
    column = "teacher_decision" if line.task is Task.SCORE else "teacher_predictions"
    shadow = rows[rows[column].notna()].drop_duplicates("unit_hash")
    if line.task is Task.SCORE:
        differs = shadow["decision"] != shadow["teacher_decision"].astype(bool)
    else:
        pairs = zip(shadow["predictions"], shadow["teacher_predictions"], strict=True)
        differs = np.array([set(own) != set(other) for own, other in pairs])
    assert f"full depth answers {differs.sum():,} of {len(shadow):,} distinct shadow texts" in told
    stats = pd.read_parquet(OutputLayout(str(tmp_path / "scores")).audit_directory + "/exit_stats.parquet")
    assert stats["rows"].sum() == len(rows)
    called = sum(dict(each)[NAME[line.task]] for each in stats["called"])
    if line.task is Task.SCORE:
        assert called == rows["decision"].sum()
    else:
        assert called == sum(NAME[line.task] in each for each in rows["predictions"])


def test_another_rule_than_the_calibrations_may_be_asked_for(line: Line, score: Callable[..., pd.DataFrame]):
    if line.task is Task.LABEL_SET:
        rows = score("--max-disagreement", 0.1, "--decide", "threat>=0.9")
        cuts = np.array([0, 0, np.log(9)], dtype=np.float32)
        own = np.array([[name in each for name in LABELS[line.task]] for each in rows["predictions"]])
        assert_at_most(0.1, (own != (line.full_depth >= cuts)).any(axis=1))
        return
    rows = score("--max-disagreement", 0.1, "--tolerance", 1.0)
    assert "decision" not in rows.columns
    assert_at_most(0.1, (rows["score"] - line.full_depth[:, 0]).abs() > 1.0)
    rows = score("--max-disagreement", 0.2, "--decide", ">=0", "--decide", ">=1")
    assert [list(each) for each in rows["decisions"]] == [
        [f">={cut}" for cut in (0, 1) if value >= cut] for value in rows["score"]
    ]


def test_mistakes_are_one_line_and_nothing_is_written(line: Line, command: CommandLine, tmp_path: Path):
    output = tmp_path / "scores"
    args = [
        "score", *FP32, "--input", line.fresh, "--text-column", "text", "--model", line.model,
        "--output", output,
    ]  # fmt: skip
    mistakes = {
        ("--max-disagreement", 0.1, "--max-false", "eggs=0.1"): "nothing is called so; texts are called",
        ("--max-disagreement", 0.1, "--max-false", f"{NAME[line.task]}=0.1", "--promise", "corpus"):
            "--max-false is promised of all texts like the calibration's: say --promise population",
        ("--speed", 0.5, "--max-false", f"{NAME[line.task]}=0.1"): "--max-false goes with --max-disagreement",
        ("--speed", 0.5, "--decide", "eggs>=0.5"): "--decide eggs>=0.5",
    }  # fmt: skip
    if line.task is Task.SCORE:
        mistakes |= {
            ("--speed", 0.5): "no exit can be sure of a score; say by --decide",
            ("--max-disagreement", 0.1, "--tolerance", 0.5, "--max-missed", ">=0.5=0.1"):
                "scores within a tolerance are not called anything",
            ("--max-disagreement", 0.1, "--max-missed", ">=0.5=0.1", "--max-missed", ">=0.50=0.2"):
                "--max-missed names >=0.5 twice",
        }  # fmt: skip
    else:
        mistakes[("--speed", 0.5, "--tolerance", 0.5)] = "--tolerance is of scores"
    for given, told in mistakes.items():
        assert told in command.refused(*args, *given)
        assert not output.exists()
    if line.task is Task.SCORE:
        told = command.refused("calibrate", *FP32, "--model", line.model, "--labels", line.labels)
        assert "the model answers with a score: say by --decide" in told


def test_true_labels_are_of_models_that_answer_with_one(line: Line, command: CommandLine, tmp_path: Path):
    refused = command.refused(
        "distill", "--labels", line.labels, "--backbone", line.teacher, "--output", tmp_path / "out",
        "--true-labels", "y",
    )  # fmt: skip
    assert refused.startswith("--true-labels y is of models that answer with one label, and ")
    assert not list(tmp_path.glob("out*"))
