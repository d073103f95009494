import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from jobs.driver.distill_metrics import DistillMetrics
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from model.training import branch_batches, branches
from pipeline.contract.typed_json import read_typed
from tests.job_fixtures import (
    LABELS,
    MAX_LENGTH,
    NUM_LAYERS,
    CommandLine,
    plain_logits,
    read_output,
    snapshot,
    softmax,
    write_classifier,
)
from tests.jobs.distill_fixtures import TEXTS, distill, label_texts, weights


def described(directory: Path) -> str:
    """Return what is said of a training at its end."""
    metrics = read_typed(str(directory / "metrics.json"), DistillMetrics, cure="none")
    assert metrics.describe()
    return metrics.describe()


def test_a_fastbert_comes_out(command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path):
    out = command(*distill(soft_labels, teacher, tmp_path / "out"))
    model = FastBertForSequenceClassification.from_pretrained(tmp_path / "out")
    assert (model.labels, model.num_layers, model.config.max_length) == (LABELS, NUM_LAYERS, MAX_LENGTH)
    answers = model.predict(TEXTS[:50])
    np.testing.assert_allclose(softmax(answers.logits), softmax(plain_logits(teacher, TEXTS[:50])), atol=1e-5)
    assert snapshot(tmp_path).keys() >= {"out/config.json", "out/metrics.json", "out/tokenizer.json"}
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("training_state*"))
    assert "branch after layer" in out
    assert f"to look at: {tmp_path / 'out' / 'distill.html'}" in out
    assert "Convergence" in (tmp_path / "out" / "distill.html").read_text()


def test_it_has_a_lexical_branch_unless_asked_otherwise(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    out = command(*distill(soft_labels, teacher, tmp_path / "with"))
    assert "a lexical one of at most 64 MB" in out
    assert "│ 0 " in out
    metrics = json.loads((tmp_path / "with" / "metrics.json").read_text())
    assert [branch["layer"] for branch in metrics["branches"]] == [0, 1, 2]
    model = FastBertForSequenceClassification.from_pretrained(tmp_path / "with")
    answers = model.predict(TEXTS[:50], policy=ExitPolicy.from_exit_layer(0, num_layers=NUM_LAYERS))
    assert set(answers.exit_layer.tolist()) == {0}
    out = command(*distill(soft_labels, teacher, tmp_path / "without", "--lexical-size", 0))
    assert "none lexical" in out
    without = weights(tmp_path / "without")
    assert not [name for name in without if "lexical" in name]
    # The others are what they are without it.
    made = weights(tmp_path / "with")
    assert all((made[name] == tensor).all() for name, tensor in without.items())


def test_the_backbone_stays_what_it_was(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    before = snapshot(teacher)
    command(*distill(soft_labels, teacher, tmp_path / "out"))
    assert snapshot(teacher) == before
    own, made = weights(teacher), weights(tmp_path / "out")
    backbone = {name for name in made if not name.startswith(("branches.", "lexical_branch."))}
    assert backbone == {f"backbone.{name}" for name in own}
    assert all((made[f"backbone.{name}"] == values).all() for name, values in own.items())


def test_the_branches_learn(command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path):
    out = command(*distill(soft_labels, teacher, tmp_path / "out", "--batch-size", 8, epochs=12))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["epochs"] == metrics["config"]["epochs"] == 12
    assert metrics["rounds"][-1]["epochs"] == 12
    assert metrics["branches"][0]["layer"] == 0
    first, last = metrics["rounds"][0]["branches"], metrics["branches"][1:]
    for branch, (before, after) in enumerate(zip(first, last, strict=True), start=1):
        assert before["layer"] == after["layer"] == branch
        assert after["kl"] < before["kl"]
        assert f"│ {after['kl']:.4f} │" in " ".join(out.split())
    assert described(tmp_path / "out") in out


def test_without_a_number_of_epochs_training_ends_when_the_branches_have_converged(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    out = command(
        "distill", "--labels", soft_labels, "--backbone", teacher, "--output", tmp_path / "out",
        "--learning-rate", 0.01,
    )  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["config"]["epochs"] is None
    assert all(branch["has_converged"] for branch in metrics["branches"])
    assert metrics["epochs"] == metrics["rounds"][-1]["epochs"]
    assert f"rows, {metrics['epochs']:.3g} epochs; wrote" in out
    assert "converged" in described(tmp_path / "out")


@pytest.mark.parametrize("design", ["paper", "pooling"])
def test_branches_are_of_the_design_that_is_asked_for(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path, design: str
):
    command(*distill(soft_labels, teacher, tmp_path / "out", "--branch", design))
    assert FastBertForSequenceClassification.from_pretrained(tmp_path / "out").config.branch_design == design


def test_the_same_seed_gives_the_same_bytes(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        command(*distill(soft_labels, teacher, tmp_path / name, "--seed", seed))
    one, two, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "other")
    )
    assert one == two != other


@pytest.mark.parametrize(
    "option", [("--kl-direction", "student-teacher"), ("--hard-label-weight", 1), ("--learning-rate", 1e-2)]
)
def test_what_is_minimised_changes_what_is_learnt(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path, option: tuple[str, Any]
):
    command(*distill(soft_labels, teacher, tmp_path / "plain"))
    command(*distill(soft_labels, teacher, tmp_path / "other", *option))
    plain, other = weights(tmp_path / "plain"), weights(tmp_path / "other")
    assert any((plain[name] != other[name]).any() for name in plain if name.startswith("branches."))


def test_more_cores_give_the_same_weights(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    before = torch.get_num_threads()
    try:
        for cores in (1, 2):
            torch.set_num_threads(cores)
            command(*distill(soft_labels, teacher, tmp_path / f"{cores}", "--precision", "fp32"))
    finally:
        torch.set_num_threads(before)
    one, two = (tmp_path / name / "model.safetensors" for name in ("1", "2"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_neither_backbone_nor_labels_are_overwritten(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path, overwrite: tuple[str, ...]
):
    backbone = shutil.copytree(teacher, tmp_path / "backbone")
    before = snapshot(backbone), snapshot(soft_labels)
    for output, source in ((backbone, backbone), (backbone / "out", backbone), (soft_labels, soft_labels)):
        line = command.refused(*distill(soft_labels, backbone, output, *overwrite))
        assert line == f"'{output}' and '{source}', which is read, overlap; choose another --output"
    other = shutil.copytree(teacher, tmp_path / "other")
    assert "holds no checkpoint that fastbert-jobs wrote" in command.refused(
        *distill(soft_labels, backbone, other, *overwrite)
    )
    assert (snapshot(backbone), snapshot(soft_labels)) == before
    assert snapshot(other) == snapshot(teacher)


def test_a_loss_that_is_not_finite_is_one_line(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    losses = branches.branch_gradients
    monkeypatch.setattr(branches, "branch_gradients", lambda *a, **b: losses(*a, **b) * np.nan)
    status, _, err = command.run(*distill(soft_labels, teacher, tmp_path / "out"))
    assert status == 2
    assert "the loss of step 1 is nan; lower --learning-rate 0.001, or see whether" in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_the_calibration_split_is_never_seen(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    texts_read: set[str] = set()
    tokenize = branch_batches.tokenize

    def spy(tokenizer: Any, texts: list[str], *more: Any, **options: Any) -> Any:
        texts_read.update(texts)
        return tokenize(tokenizer, texts, *more, **options)

    monkeypatch.setattr(branch_batches, "tokenize", spy)
    command(*distill(soft_labels, teacher, tmp_path / "out"))
    frame = read_output(soft_labels).to_pandas()
    assert texts_read == set(frame.loc[frame["split"] == "train", "text"])
    assert not texts_read & set(frame.loc[frame["split"] == "calibration", "text"])
    assert len(set(frame.loc[frame["split"] == "calibration", "text"])) > 20


def test_soft_labels_of_several_jobs_are_learnt_from_together(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    again = label_texts(tmp_path / "labels", teacher)
    out = command(*distill(soft_labels, teacher, tmp_path / "out", "--labels", again))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    command(*distill(soft_labels, teacher, tmp_path / "once"))
    once = json.loads((tmp_path / "once" / "metrics.json").read_text())
    assert metrics["num_train_rows"] == 2 * once["num_train_rows"]
    assert len(metrics["config"]["labels"]) == 2
    assert f"--labels {soft_labels} --labels {again}" in out


def test_the_teacher_may_be_bigger_than_the_backbone(command: CommandLine, tmp_path: Path, teacher: Path):
    big = write_classifier(tmp_path / "big", num_layers=5, seed=9)
    command(*distill(label_texts(tmp_path / "labels", big), teacher, tmp_path / "out"))
    assert FastBertForSequenceClassification.from_pretrained(tmp_path / "out").num_layers == NUM_LAYERS


def copy_of(directory: Path, target: Path, **config: Any) -> Path:
    """Copy a checkpoint, with another configuration."""
    target.mkdir()
    for name, content in snapshot(directory).items():
        (target / name).write_bytes(content)
    changed = AutoConfig.from_pretrained(directory)
    for name, value in config.items():
        setattr(changed, name, value)
    changed.save_pretrained(target)
    return target


def test_labels_in_another_order_are_refused(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    turned = dict(enumerate(LABELS[::-1]))
    backbone = copy_of(
        teacher, tmp_path / "turned", id2label=turned, label2id={name: i for i, name in turned.items()}
    )
    line = command.refused(*distill(soft_labels, backbone, tmp_path / "out"))
    assert line == (
        f"'{backbone}' has the same labels in another order than '{soft_labels}': "
        "yes, maybe, no against no, maybe, yes"
    )
    other = write_classifier(tmp_path / "other", labels=("a", "b", "c"))
    assert "has other labels than" in command.refused(*distill(soft_labels, other, tmp_path / "out"))
    assert not list(tmp_path.glob("out*"))


def test_labels_of_longer_texts_than_the_backbone_takes_are_refused(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    backbone = copy_of(teacher, tmp_path / "short")
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    tokenizer.model_max_length = 10
    tokenizer.save_pretrained(backbone)
    line = command.refused(*distill(soft_labels, backbone, tmp_path / "out"))
    assert line == (
        f"'{backbone}' takes 10 tokens, but '{soft_labels}' was made with {MAX_LENGTH}; "
        "label again with --max-length 10"
    )


def test_a_backbone_that_is_a_fastbert_is_refused(
    command: CommandLine, soft_labels: Path, fastbert: Path, tmp_path: Path
):
    line = command.refused(*distill(soft_labels, fastbert, tmp_path / "out"))
    assert "FastBERT already" in line
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--hard-label-weight", -1), "--hard-label-weight -1.0 is not 0 or above"),
        (("--resume", "--overwrite"), "--resume and --overwrite exclude each other"),
        (("--epochs", 0), "--epochs 0 is not at least 1"),
        (("--epochs", -3), "--epochs -3 is neither a number of passes nor auto"),
        (("--epochs", "many"), "--epochs many is neither a number of passes nor auto"),
        (("--seed", -1), "--seed -1 is not between 0 and 2147483647"),
        (("--seed", 2**31), "--seed 2147483648 is not between 0 and 2147483647"),
        (("--batch-size", 0), "--batch-size 0"),
        (("--learning-rate", 0), "--learning-rate 0.0"),
        (("--learning-rate", "nan"), "--learning-rate nan"),
        (("--hard-label-weight", "nan"), "--hard-label-weight nan"),
        (("--lexical-size", -1), "--lexical-size -1.0 is not 0 or above"),
        (("--lexical-size", 0.001), "--lexical-size 0.001 MB holds 0 n-grams, fewer than the 3 labels; give"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    command: CommandLine,
    soft_labels: Path,
    teacher: Path,
    tmp_path: Path,
    option: tuple[Any, ...],
    message: str,
):
    assert message in command.refused(*distill(soft_labels, teacher, tmp_path / "out", *option))
    assert not list(tmp_path.glob("out*"))


def test_a_damaged_memory_of_the_backbone_is_told_before_the_work(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    backbone = shutil.copytree(teacher, tmp_path / "backbone")
    (backbone / "teacher_texts.parquet").write_bytes(b"PAR1")
    line = command.refused(*distill(soft_labels, backbone, tmp_path / "out"))
    assert line.startswith(f"'{backbone / 'teacher_texts.parquet'}' is damaged: ")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "give one of --backbone and --continue, and not both"),
        (("--backbone", "x", "--continue", "y"), "give one of --backbone and --continue, and not both"),
        (("--continue", "y", "--branch", "paper"), "--branch goes with --backbone"),
        (("--backbone", "x", "--true-label-weight", -1), "--true-label-weight -1.0 is not 0 or above"),
    ],
)
def test_what_is_trained_is_named_once(command: CommandLine, more: tuple[Any, ...], message: str):
    assert message in command.refused("distill", "--labels", "a", "--output", "b", *more)
