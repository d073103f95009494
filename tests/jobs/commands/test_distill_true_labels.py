"""Distillation with true labels beside soft ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from tests.job_fixtures import NUM_LAYERS, CommandLine, write_tsv
from tests.jobs.distill_fixtures import TEXTS, distill, label_texts, weights

ECHO = [{True: "yes", False: "no"}["echo" in text.split()] for text in TEXTS]


@pytest.fixture(scope="session")
def truly_labelled(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Path:
    """Directory of soft labels of `teacher`, with true labels of every second row in column `y`."""
    labels = [name if place % 2 else "" for place, name in enumerate(ECHO)]
    return label_texts(tmp_path_factory.mktemp("labels"), teacher, more={"y": labels}, keep=("y",))


def test_true_labels_are_learnt_where_rows_have_them(
    command: CommandLine, truly_labelled: Path, teacher: Path, tmp_path: Path
):
    strongly = ("--true-labels", "y", "--true-label-weight", 20, "--learning-rate", 0.01)
    out = command(*distill(truly_labelled, teacher, tmp_path / "true", *strongly, epochs=20))
    assert "; true labels of 'y' weigh 20" in out
    command(*distill(truly_labelled, teacher, tmp_path / "plain", "--learning-rate", 0.01, epochs=20))
    shares = []
    for name in ("true", "plain"):
        model = FastBertForSequenceClassification.from_pretrained(tmp_path / name)
        for layer in (0, 2):
            policy = ExitPolicy.from_exit_layer(layer, num_layers=NUM_LAYERS)
            answers = model.predict(TEXTS, policy=policy).logits.argmax(1)
            names = [model.labels[place] for place in answers]
            shares.append(np.mean([one == two for one, two in zip(names, ECHO, strict=True)]))
    # The lexical branch and that of layer 2, with and without.
    assert shares[0] > shares[2] + 0.1
    assert shares[1] > shares[3] + 0.1
    metrics = json.loads((tmp_path / "true" / "metrics.json").read_text())
    assert (metrics["config"]["true_labels"], metrics["config"]["true_label_weight"]) == ("y", 20.0)


def test_true_labels_that_weigh_nothing_change_nothing(
    command: CommandLine, truly_labelled: Path, teacher: Path, tmp_path: Path
):
    nothing = ("--true-labels", "y", "--true-label-weight", 0)
    command(*distill(truly_labelled, teacher, tmp_path / "none", *nothing))
    command(*distill(truly_labelled, teacher, tmp_path / "plain"))
    one, two = weights(tmp_path / "none"), weights(tmp_path / "plain")
    assert all((one[name] == two[name]).all() for name in two)


def test_true_labels_that_there_are_not_are_refused(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    line = command.refused(*distill(soft_labels, teacher, tmp_path / "out", "--true-labels", "y"))
    assert line == f"'{soft_labels}' has no column 'y' of true labels; label again with --keep y"
    write_tsv(tmp_path / "rows.tsv", {"text": TEXTS[:60], "y": ["yes", "", "purple"] * 20})
    command(
        "label-teacher", "--input", tmp_path / "rows.tsv", "--text-column", "text", "--teacher", teacher,
        "--output", tmp_path / "labels", "--keep", "y",
    )  # fmt: skip
    line = command.refused(*distill(tmp_path / "labels", teacher, tmp_path / "out", "--true-labels", "y"))
    assert line.startswith("labels 'purple' are none of the model's: no, maybe, yes")
    assert not list(tmp_path.glob("out*"))
