import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from jobs.quickstart.tiny_bert import write_tiny_bert
from model.checkpoints.loading import load_classifier
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.training_hashes import read_teacher_texts
from tests.job_fixtures import (
    LABELS,
    WORDS,
    WRITERS,
    CommandLine,
    make_texts,
    plain_logits,
    read_output,
    snapshot,
    write_csv,
    write_jsonl,
    write_parquet,
    write_tsv,
)

draw = random.Random(0)
TEXTS = [" ".join(draw.choices(WORDS, k=5)) for _ in range(160)]
# Told apart by a single word.
NAMES = ["with" if "echo" in text.split() else "without" for text in TEXTS]
EVAL_TEXTS = [" ".join(draw.choices(WORDS, k=5)) for _ in range(60)]
EVAL_NAMES = ["with" if "echo" in text.split() else "without" for text in EVAL_TEXTS]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny BERT without a classifier."""
    directory = tmp_path_factory.mktemp("models") / "encoder"
    write_tiny_bert(
        directory, make_texts(200), vocab_size=80, num_layers=2, hidden_size=32, num_heads=2, max_length=16
    )
    return directory


def finetune(path: Path, model: Path, output: Path, *more: Any, epochs: int = 1) -> list[Any]:
    """Return the command line that fine-tunes."""
    given = ["--input", path, "--text-column", "text", "--label-column", "label", "--model", model]
    sizes = ["--output", output, "--epochs", epochs, "--batch-size", 8, "--max-length", 16]
    return ["finetune", *given, *sizes, "--learning-rate", 2e-3, *more]


def metrics_of(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "metrics.json").read_text())
    return content


def accuracy(directory: Path, texts: list[str], names: list[str]) -> float:
    model = load_classifier(directory)
    predicted = plain_logits(directory, texts, max_length=16).argmax(1)
    return float(
        np.mean([model.config.id2label[i] == name for i, name in zip(predicted, names, strict=True)])
    )


def test_what_can_be_told_apart_is_learnt(command: CommandLine, encoder: Path, tmp_path: Path):
    train = write_tsv(tmp_path / "train.tsv", {"text": TEXTS, "label": NAMES})
    judge = write_tsv(tmp_path / "eval.tsv", {"text": EVAL_TEXTS, "label": EVAL_NAMES})
    out = command(*finetune(train, encoder, tmp_path / "out", "--eval-input", judge, epochs=8))
    assert accuracy(tmp_path / "out", TEXTS, NAMES) > 0.95
    metrics = metrics_of(tmp_path / "out")
    assert metrics["accuracy"] == pytest.approx(accuracy(tmp_path / "out", EVAL_TEXTS, EVAL_NAMES))
    assert (metrics["num_rows"], metrics["num_rejected"]) == (160, 0)
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == list(range(1, 9))
    assert metrics["epochs"][-1]["loss"] < metrics["epochs"][0]["loss"]
    assert "epoch 8 of 8" in out
    assert not list(tmp_path.glob("*.partial"))


def test_the_best_epoch_is_kept(command: CommandLine, encoder: Path, tmp_path: Path):
    train = write_tsv(tmp_path / "train.tsv", {"text": TEXTS, "label": NAMES})
    # The eval rows are labelled the wrong way round: the more is learnt, the worse.
    turned = {"with": "without", "without": "with"}
    judge = write_tsv(
        tmp_path / "eval.tsv", {"text": EVAL_TEXTS, "label": [turned[name] for name in EVAL_NAMES]}
    )
    command(*finetune(train, encoder, tmp_path / "out", "--eval-input", judge, epochs=6))
    metrics = metrics_of(tmp_path / "out")
    accuracies = [epoch["accuracy"] for epoch in metrics["epochs"]]
    assert metrics["accuracy"] == max(accuracies) > accuracies[-1]
    assert accuracy(tmp_path / "out", EVAL_TEXTS, [turned[name] for name in EVAL_NAMES]) == pytest.approx(
        max(accuracies)
    )


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_classifier(
    command: CommandLine, encoder: Path, tmp_path: Path, name: str
):
    rows = {"text": TEXTS[:40], "label": NAMES[:40]}
    command(*finetune(write_csv(tmp_path / "a.csv", rows), encoder, tmp_path / "csv"))
    command(*finetune(WRITERS[name](tmp_path / name, rows), encoder, tmp_path / "out"))
    one, two = (tmp_path / made / "model.safetensors" for made in ("csv", "out"))
    assert one.read_bytes() == two.read_bytes()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "with", "1": "without"}
    assert config["label2id"] == {"with": 0, "without": 1}


def test_labels_may_be_numbers(command: CommandLine, encoder: Path, tmp_path: Path):
    path = write_parquet(tmp_path / "a.parquet", {"text": TEXTS[:40], "label": [i % 11 for i in range(40)]})
    command(*finetune(path, encoder, tmp_path / "out"))
    config = load_classifier(tmp_path / "out").config
    assert [config.id2label[i] for i in range(11)] == [str(i) for i in range(11)]


def test_pairs(command: CommandLine, encoder: Path, tmp_path: Path):
    rows = {"text": TEXTS[:40], "pair": TEXTS[40:80], "label": NAMES[:40]}
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    command(*finetune(path, encoder, tmp_path / "single"))
    command(*finetune(path, encoder, tmp_path / "pairs", "--text-pair-column", "pair"))
    single, pairs = (snapshot(tmp_path / made)["model.safetensors"] for made in ("single", "pairs"))
    assert single != pairs


def test_the_same_seed_gives_the_same_bytes(command: CommandLine, encoder: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:40], "label": NAMES[:40]})
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        torch.manual_seed(ord(name[0]))
        command(*finetune(path, encoder, tmp_path / name, "--seed", seed))
    one, two, other = (snapshot(tmp_path / name) for name in ("one", "two", "other"))
    assert one["model.safetensors"] == two["model.safetensors"] != other["model.safetensors"]
    assert one["tokenizer.json"] == two["tokenizer.json"]


def test_weight_decay_decays(command: CommandLine, encoder: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:40], "label": NAMES[:40]})
    norms = []
    for decay in (0, 50):
        command(*finetune(path, encoder, tmp_path / f"{decay}", "--weight-decay", decay))
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / f"{decay}")
        norms.append(float(model.bert.encoder.layer[0].attention.self.query.weight.detach().norm()))
    assert norms[1] < 0.8 * norms[0]


def test_rows_without_text_or_label_are_left_out(command: CommandLine, encoder: Path, tmp_path: Path):
    texts, names = [*TEXTS[:10], "", TEXTS[10]], [*NAMES[:9], "with", "with", ""]
    path = write_tsv(tmp_path / "train.tsv", {"text": texts, "label": names})
    out = command(*finetune(path, encoder, tmp_path / "out"))
    assert metrics_of(tmp_path / "out")["num_rejected"] == 2
    assert "10 rows, 2 without text or label left out" in out


def test_a_classifier_may_be_fine_tuned_for_other_labels(command: CommandLine, teacher: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:40], "label": NAMES[:40]})
    command(*finetune(path, teacher, tmp_path / "out"))
    assert load_classifier(tmp_path / "out").config.num_labels == 2 != len(LABELS)


def test_what_comes_out_is_a_teacher(command: CommandLine, encoder: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:40], "label": NAMES[:40]})
    command(*finetune(path, encoder, tmp_path / "out"))
    command(
        "label-teacher", "--input", path, "--text-column", "text", "--teacher", tmp_path / "out",
        "--output", tmp_path / "labels",
    )  # fmt: skip
    command(
        "distill", "--labels", tmp_path / "labels", "--backbone", tmp_path / "out",
        "--output", tmp_path / "fastbert", "--epochs", 1,
    )  # fmt: skip


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


def test_an_output_that_exists_is_refused_unless_it_is_overwritten(
    command: CommandLine, encoder: Path, tmp_path: Path
):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:40], "label": NAMES[:40]})
    command(*finetune(path, encoder, tmp_path / "out"))
    before = snapshot(tmp_path / "out")
    assert "exists already" in command.refused(*finetune(path, encoder, tmp_path / "out", "--seed", 1))
    assert snapshot(tmp_path / "out") == before
    command(*finetune(path, encoder, tmp_path / "out", "--seed", 1, "--overwrite"))
    assert snapshot(tmp_path / "out").keys() == before.keys()
    assert snapshot(tmp_path / "out")["model.safetensors"] != before["model.safetensors"]


def damaged(encoder: Path, directory: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    """Copy an encoder, its tensors changed."""
    shutil.copytree(encoder, directory)
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


QUERY = "encoder.layer.1.attention.self.query.weight"


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


def test_what_a_killed_run_left_is_to_be_overwritten(command: CommandLine, encoder: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    (tmp_path / "out.partial").mkdir()
    line = command.refused(*finetune(path, encoder, tmp_path / "out"))
    assert line == (f"'{tmp_path}/out.partial' is a killed run's; choose another --output, or --overwrite it")
    command(*finetune(path, encoder, tmp_path / "out", "--overwrite"))
    assert not (tmp_path / "out.partial").exists()


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


def test_what_a_classifier_was_fine_tuned_on_is_remembered_and_carried_along(
    command: CommandLine, encoder: Path, tmp_path: Path
):
    train = write_tsv(tmp_path / "train.tsv", {"text": [*TEXTS, "", "x"], "label": [*NAMES, "with", ""]})
    teacher, fastbert = tmp_path / "teacher", tmp_path / "fastbert"
    command(*finetune(train, encoder, teacher))
    assert read_teacher_texts(teacher) == set(text_hashes(TEXTS))
    # The natural mistake: the same texts, among others.
    more = make_texts(300, seed=9)
    corpus = write_tsv(tmp_path / "corpus.tsv", {"text": [*TEXTS, *more]})
    out = command(
        "label-teacher", "--input", corpus, "--text-column", "text", "--teacher", teacher,
        "--output", tmp_path / "labels", "--calibration-fraction", 0.5,
    )  # fmt: skip
    assert "the teacher was fine-tuned on them" in out
    labels = read_output(tmp_path / "labels").to_pandas()
    assert set(labels.loc[labels["split"] == "calibration", "text"]) <= set(more)
    command(
        "distill", "--labels", tmp_path / "labels", "--backbone", teacher, "--output", fastbert,
        "--epochs", 1, "--lexical-size", 0,
    )  # fmt: skip
    assert read_teacher_texts(fastbert) == read_teacher_texts(teacher)
    # Fine-tuned further, it remembers both.
    second = write_tsv(tmp_path / "second.tsv", {"text": more[:40], "label": NAMES[:40]})
    command(*finetune(second, teacher, tmp_path / "again"))
    assert read_teacher_texts(tmp_path / "again") == set(text_hashes([*TEXTS, *more[:40]]))


def test_a_damaged_memory_is_told_before_the_work(command: CommandLine, encoder: Path, tmp_path: Path):
    train = write_tsv(tmp_path / "train.tsv", {"text": TEXTS, "label": NAMES})
    copy = shutil.copytree(encoder, tmp_path / "copy")
    (copy / "teacher_texts.parquet").write_bytes(b"PAR1")
    line = command.refused(*finetune(train, copy, tmp_path / "out"))
    assert line.startswith(f"'{copy / 'teacher_texts.parquet'}' is damaged: ")
    assert not list(tmp_path.glob("out*"))
