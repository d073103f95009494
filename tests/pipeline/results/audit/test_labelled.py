import numpy as np
import pytest
import torch

from model.answers.task import Task
from model.training.finetuning.quality import judge_answers
from pipeline.results.audit.labelled import labelled_of
from tests.pipeline.results.score_rows import LABELS, collected, random_rows


def test_each_exit_is_judged_as_finetune_judges():
    rows = random_rows(800)
    labelled = labelled_of(collected(rows))
    assert labelled is not None
    known = rows[rows["truth"] >= 0]
    parts = {"all": known} | {str(layer): part for layer, part in known.groupby("exit_layer")}
    assert set(labelled.by_exit) | {"all"} == set(parts)
    for name, part in parts.items():
        found = labelled.overall if name == "all" else labelled.by_exit[name]
        answers = np.array([LABELS.index(label) for label in part["prediction"]])
        expected = judge_answers(
            np.eye(3, dtype=np.float32)[answers],
            torch.from_numpy(part["truth"].to_numpy().copy()),
            task=Task.ONE_LABEL,
            labels=LABELS,
        )
        assert found.by_label == expected.by_label
        assert found.confusion == expected.confusion
        assert found.accuracy.value == pytest.approx(expected.quality.accuracy)
        assert found.macro_f1 == pytest.approx(expected.quality.macro_f1)


def test_without_true_labels_nothing_is_judged():
    rows = random_rows(50)
    rows["truth"] = -1
    assert labelled_of(collected(rows)) is None
