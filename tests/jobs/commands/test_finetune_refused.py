import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.job_fixtures import CommandLine, snapshot, write_tsv
from tests.jobs.finetune_fixtures import NAMES, TEXTS, finetune


def damaged(encoder: Path, directory: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    """Copy an encoder, its tensors changed."""
    shutil.copytree(encoder, directory)
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ({"text": TEXTS[:3], "label": ["a"] * 3}, (), "column 'label' holds one label only, 'a'"),
        ({"text": ["", ""], "label": ["a", "b"]}, (), "has both a text and a 'label'"),
        ({"text": TEXTS[:3], "other": ["a"] * 3}, (), "no column 'label'; its columns: text, other"),
        ({"text": TEXTS[:2], "label": ["a", "b"]}, ("--max-length", 17), "--max-length 17 is not between"),
        ({"text": TEXTS[:2], "label": ["a", "b"]}, ("--warmup", 2), "--warmup 2.0 is not a share"),
        ({"text": TEXTS[:2], "label": ["a", "b"]}, ("--epochs", 0), "--epochs 0"),
    ],
)
def test_rows_that_teach_nothing_are_refused(
    command: CommandLine,
    encoder: Path,
    tmp_path: Path,
    rows: dict[str, list[str]],
    more: tuple[Any, ...],
    message: str,
):
    path = write_tsv(tmp_path / "train.tsv", rows)
    assert message in command.refused(*finetune(path, encoder, tmp_path / "out", *more))
    assert not list(tmp_path.glob("out*"))


def test_eval_labels_that_were_not_learnt_are_refused(command: CommandLine, encoder: Path, tmp_path: Path):
    train = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    judge = write_tsv(tmp_path / "eval.tsv", {"text": TEXTS[:3], "label": ["a", "c", "d"]})
    line = command.refused(*finetune(train, encoder, tmp_path / "out", "--eval-input", judge))
    assert line == "--eval-input has labels that --input has not: c, d"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda tensors: tensors.pop(QUERY), "missing"),
        (lambda tensors: tensors.update({QUERY: tensors[QUERY][:16].clone()}), "mismatched"),
    ],
)
def test_an_encoder_that_is_incomplete_is_refused(
    command: CommandLine, encoder: Path, tmp_path: Path, change: Callable[..., Any], problem: str
):
    broken = damaged(encoder, tmp_path / "broken", change)
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    line = command.refused(*finetune(path, broken, tmp_path / "out"))
    assert f"is incomplete: 1 tensors {problem}, 'bert.{QUERY}'" in line
    assert not list(tmp_path.glob("out*"))


def test_a_truncated_encoder_is_refused(command: CommandLine, encoder: Path, tmp_path: Path):
    broken = shutil.copytree(encoder, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    assert "cannot be loaded: " in command.refused(*finetune(path, broken, tmp_path / "out"))


def test_the_model_is_never_overwritten(command: CommandLine, encoder: Path, tmp_path: Path):
    model = shutil.copytree(encoder, tmp_path / "model")
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    before = snapshot(tmp_path)
    for output in (model, model / "out", tmp_path):
        line = command.refused(*finetune(path, model, output, "--overwrite"))
        assert line == f"'{output}' and '{model}', which is read, overlap; choose another --output"
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("option", ["--input", "--eval-input"])
def test_rows_are_never_overwritten(command: CommandLine, encoder: Path, tmp_path: Path, option: str):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    output = tmp_path / "out"
    command(*finetune(path, encoder, output))
    inside = write_tsv(output / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    before = snapshot(tmp_path)
    given = (inside,) if option == "--input" else (path, "--eval-input", inside)
    line = command.refused(*finetune(given[0], encoder, output, *given[1:], "--overwrite"))
    assert line == f"'{output}' and '{inside}', which is read, overlap; choose another --output"
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_is_none_is_refused(command: CommandLine, encoder: Path, tmp_path: Path, seed: int):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    line = command.refused(*finetune(path, encoder, tmp_path / "out", "--seed", seed))
    assert line == f"--seed {seed} is not between 0 and 2147483647"


def test_weights_that_are_not_finite_end_in_one_line(command: CommandLine, encoder: Path, tmp_path: Path):
    broken = damaged(encoder, tmp_path / "broken", lambda tensors: tensors[QUERY].fill_(float("nan")))
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    status, _, err = command.run(*finetune(path, broken, tmp_path / "out"))
    assert status == 2
    assert "the loss of step 1 is nan; lower --learning-rate 0.002, or see whether" in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_damaged_memory_is_told_before_the_work(command: CommandLine, encoder: Path, tmp_path: Path):
    train = write_tsv(tmp_path / "train.tsv", {"text": TEXTS, "label": NAMES})
    copy = shutil.copytree(encoder, tmp_path / "copy")
    (copy / "teacher_texts.parquet").write_bytes(b"PAR1")
    line = command.refused(*finetune(train, copy, tmp_path / "out"))
    assert line.startswith(f"'{copy / 'teacher_texts.parquet'}' is damaged: ")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--best-by", "spearman"),
            "--best-by spearman is none of accuracy, macro-f1, loss, which single_label_classification",
        ),
        (("--task", "regression", "--best-by", "accuracy"), "--best-by accuracy is none of loss, spearman"),
        (
            ("--task", "regression", "--class-weights", "balanced"),
            "--class-weights balanced: a regression has no classes to weigh",
        ),
        (("--resume", "--overwrite"), "--resume and --overwrite exclude each other"),
        (
            ("--eval-input", "x", "--eval-fraction", 0.1),
            "--eval-fraction and --eval-input exclude each other",
        ),
        (("--eval-fraction", 2), "--eval-fraction 2.0"),
        (("--gradient-accumulation", 0), "--gradient-accumulation 0 is not at least 1"),
        (("--threads", 0), "--threads 0 is not at least 1"),
        (("--label-separator", " "), "--label-separator ' ' is nothing but spaces"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    command: CommandLine, encoder: Path, tmp_path: Path, more: tuple[Any, ...], message: str
):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    assert message in command.refused(*finetune(path, encoder, tmp_path / "out", *more))
    assert not list(tmp_path.glob("out*"))
