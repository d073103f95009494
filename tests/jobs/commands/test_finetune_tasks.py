import json
from pathlib import Path

import numpy as np
import pytest
from transformers import pipeline

from tests.job_fixtures import CommandLine, snapshot, write_csv, write_jsonl, write_parquet, write_tsv
from tests.jobs.finetune_fixtures import TEXTS, finetune, metrics_of

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
