import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from model.checkpoints.loading import load_classifier
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.training_hashes import read_teacher_texts
from tests.job_fixtures import (
    LABELS,
    WRITERS,
    CommandLine,
    make_texts,
    read_output,
    snapshot,
    write_csv,
    write_jsonl,
    write_parquet,
    write_tsv,
)
from tests.jobs.finetune_fixtures import EVAL_NAMES, EVAL_TEXTS, NAMES, TEXTS, accuracy, finetune, metrics_of


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
