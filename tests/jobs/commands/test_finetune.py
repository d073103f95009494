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
from transformers import AutoModelForSequenceClassification, pipeline

from jobs.quickstart.tiny_bert import write_tiny_bert
from model.checkpoints.loading import load_classifier
from model.training import classifier
from model.training.resume import TrainingState
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
    assert metrics["quality"]["accuracy"] == pytest.approx(accuracy(tmp_path / "out", EVAL_TEXTS, EVAL_NAMES))
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
    accuracies = [epoch["quality"]["accuracy"] for epoch in metrics["epochs"]]
    assert metrics["quality"]["accuracy"] == max(accuracies) > accuracies[-1]
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


def test_what_a_killed_run_left_is_to_be_resumed_or_overwritten(
    command: CommandLine, encoder: Path, tmp_path: Path
):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:4], "label": ["a", "b", "a", "b"]})
    (tmp_path / "out.partial").mkdir()
    line = command.refused(*finetune(path, encoder, tmp_path / "out"))
    assert line == (f"'{tmp_path}/out.partial' is a killed run's; go on with --resume, or --overwrite it")
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


# Of each word that a text may hold, whether it does.
SETS = [[word for word in ("echo", "moss", "rust") if word in text.split()] for text in TEXTS]
NUMBERS = [0.5 * text.split().count("echo") - text.split().count("moss") for text in TEXTS]


def test_several_labels_at_once_are_learnt_as_hugging_face_has_them(
    command: CommandLine, encoder: Path, tmp_path: Path
):
    train = write_jsonl(tmp_path / "train.jsonl", {"text": TEXTS, "label": SETS})
    given = ("--task", "multi-label", "--eval-input", train, "--best-by", "macro-f1")
    command(*finetune(train, encoder, tmp_path / "out", *given, epochs=35))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert config["id2label"] == {"0": "echo", "1": "moss", "2": "rust"}
    answer = pipeline("text-classification", model=str(tmp_path / "out"), top_k=None, truncation=True)
    found = [{each["label"] for each in scores if each["score"] >= 0.5} for scores in answer(TEXTS)]
    right = np.mean([names == set(true) for names, true in zip(found, SETS, strict=True)])
    # No label at all is right for about half of them.
    assert right > 0.65
    assert metrics_of(tmp_path / "out")["quality"]["accuracy"] == pytest.approx(right)
    metrics = metrics_of(tmp_path / "out")
    assert metrics["quality"]["macro_f1"] == max(each["quality"]["macro_f1"] for each in metrics["epochs"])
    assert [each["label"] for each in metrics["by_label"]] == ["echo", "moss", "rust"]
    assert metrics["confusion"] == []


@pytest.mark.parametrize("separator", [",", "|"])
def test_several_labels_may_stand_in_text_or_in_lists(
    command: CommandLine, encoder: Path, tmp_path: Path, separator: str
):
    joined = [f" {separator} ".join(each) for each in SETS]
    text = write_csv(tmp_path / "a.csv", {"text": TEXTS, "label": joined})
    lists = write_parquet(tmp_path / "a.parquet", {"text": TEXTS, "label": SETS})
    task = ("--task", "multi-label")
    out = command(*finetune(text, encoder, tmp_path / "text", *task, "--label-separator", separator))
    command(*finetune(lists, encoder, tmp_path / "lists", *task))
    one, two = (snapshot(tmp_path / name)["model.safetensors"] for name in ("text", "lists"))
    assert one == two
    assert f"160 rows, 0 without text or label left out, {SETS.count([])} of which no label holds" in out


def test_a_regression_is_learnt_as_hugging_face_has_it(command: CommandLine, encoder: Path, tmp_path: Path):
    train = write_tsv(tmp_path / "train.tsv", {"text": TEXTS, "label": [f"{each}" for each in NUMBERS]})
    given = ("--task", "regression", "--eval-input", train)
    command(*finetune(train, encoder, tmp_path / "out", *given, epochs=25))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["problem_type"], config["id2label"]) == ("regression", {"0": "label"})
    answer = pipeline("text-classification", model=str(tmp_path / "out"), truncation=True)
    found = [answer(text)[0]["score"] for text in TEXTS[:30]]
    assert np.corrcoef(found, NUMBERS[:30])[0, 1] > 0.9
    quality = metrics_of(tmp_path / "out")["quality"]
    assert quality["loss"] < 0.3 * np.var(NUMBERS)
    assert quality["spearman"] > 0.8
    assert quality["accuracy"] is None


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        (
            {"text": TEXTS[:3], "label": ["1", "a", "2"]},
            "regression",
            "row 1: column 'label' holds 'a', which",
        ),
        ({"text": TEXTS[:3], "label": ["1", "2", "inf"]}, "regression", "row 2: column 'label' holds 'inf',"),
        ({"text": TEXTS[:3], "label": ["1", "1", "1"]}, "regression", "column 'label' holds one number only"),
        (
            {"text": TEXTS[:3], "label": ["a", "a,,b", "b"]},
            "multi-label",
            "row 1: column 'label' holds an empty",
        ),
        (
            {"text": TEXTS[:3], "label": ["a", "a", ""]},
            "multi-label",
            "column 'label' holds one label only, 'a'",
        ),
        ({"text": TEXTS[:3], "label": ["", "", ""]}, "multi-label", "column 'label' holds no label"),
    ],
)
def test_labels_that_are_not_of_the_task_are_refused(
    command: CommandLine, encoder: Path, tmp_path: Path, rows: dict[str, list[str]], more: str, message: str
):
    path = write_tsv(tmp_path / "train.tsv", rows)
    line = command.refused(*finetune(path, encoder, tmp_path / "out", "--task", more))
    assert message in line
    assert "column" in line
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


def test_rows_to_judge_by_are_drawn_where_none_are_given(command: CommandLine, encoder: Path, tmp_path: Path):
    more = make_texts(240, seed=3)
    path = write_tsv(tmp_path / "a.tsv", {"text": more, "label": [f"{len(text) % 2}" for text in more]})
    out = command(*finetune(path, encoder, tmp_path / "out"))
    metrics = metrics_of(tmp_path / "out")
    num_eval = metrics["num_eval_rows"]
    assert metrics["num_rows"] + num_eval == 240
    assert 5 < num_eval < 60
    assert (
        f"{num_eval} rows of the input, drawn by hash, that are not trained on; the best epoch by acc" in out
    )
    # They may calibrate, and be judged by: the classifier has not learnt them.
    learnt = read_teacher_texts(tmp_path / "out")
    assert learnt is not None
    assert len(learnt) < len(set(more))
    np.testing.assert_equal(np.sum(metrics["confusion"]), num_eval)
    out = command(*finetune(path, encoder, tmp_path / "none", "--eval-fraction", 0))
    assert "judged by  nothing, the last epoch is kept" in out
    assert metrics_of(tmp_path / "none")["quality"] is None


def test_the_length_is_remembered_and_told(command: CommandLine, encoder: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:40], "label": NAMES[:40]})
    out = command(*finetune(path, encoder, tmp_path / "out", "--max-length", 9))
    assert f"--teacher {tmp_path / 'out'} --max-length 9 --output labels" in out
    command(
        "label-teacher", "--input", path, "--text-column", "text", "--teacher", tmp_path / "out",
        "--output", tmp_path / "labels",
    )  # fmt: skip
    assert read_output(tmp_path / "labels")["num_tokens"].to_pandas().max() <= 9


def test_a_classifier_that_has_collapsed_is_warned_of(command: CommandLine, encoder: Path, tmp_path: Path):
    names = [f"label {place % 6}" for place in range(160)]
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS, "label": names})
    out = command(*finetune(path, encoder, tmp_path / "out", "--eval-input", path, "--learning-rate", 1e-9))
    assert "of the 6 labels that the rows hold: 'label " in out
    assert "a higher learning rate or more epochs" in out


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


def test_threads_are_given_back(command: CommandLine, encoder: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS[:20], "label": NAMES[:20]})
    before, seen = torch.get_num_threads(), set()
    forward = torch.nn.Linear.forward

    def spy(self: Any, given: torch.Tensor) -> torch.Tensor:
        seen.add(torch.get_num_threads())
        return forward(self, given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Linear, "forward", spy)
        command(*finetune(path, encoder, tmp_path / "out", "--threads", before + 1))
    assert seen == {before + 1}
    assert torch.get_num_threads() == before


def test_bf16_learns_nearly_the_same(command: CommandLine, encoder: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "train.tsv", {"text": TEXTS, "label": NAMES})
    losses = []
    for precision in ("fp32", "bf16"):
        command(*finetune(path, encoder, tmp_path / precision, "--precision", precision, epochs=4))
        losses.append([epoch["loss"] for epoch in metrics_of(tmp_path / precision)["epochs"]])
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.1)
