import numpy as np
import pytest
import torch

from model.answers.task import Task
from model.training.finetuning.quality import Quality, judge_answers
from model.training.finetuning.settings import BestBy

NAMES = ("a", "b", "c")


def one_hot(answers: list[int]) -> np.ndarray:
    return 5 * np.eye(3, dtype=np.float32)[answers]


def test_one_of_several_labels_is_judged_by_class():
    report = judge_answers(
        one_hot([0, 0, 1, 1, 1]), torch.tensor([0, 0, 0, 1, 2]), task=Task.ONE_LABEL, labels=NAMES
    )
    # Rows by label, columns by answer.
    assert report.confusion == ((2, 1, 0), (0, 1, 0), (0, 1, 0))
    found = [(each.precision, each.recall, each.f1) for each in report.by_label]
    expected = [(1.0, 2 / 3, 0.8), (1 / 3, 1.0, 0.5), (0.0, 0.0, 0.0)]
    np.testing.assert_allclose(found, expected)
    assert report.quality.accuracy == pytest.approx(3 / 5)
    assert report.quality.macro_f1 == pytest.approx((0.8 + 0.5) / 3)
    assert [(each.num_true, each.num_predicted) for each in report.by_label] == [(3, 2), (1, 3), (1, 0)]
    assert report.quality.spearman is None


def test_a_label_without_rows_or_answers_is_no_part_of_the_mean():
    report = judge_answers(one_hot([0, 1]), torch.tensor([0, 1]), task=Task.ONE_LABEL, labels=NAMES)
    assert report.quality.macro_f1 == 1.0


def test_several_labels_at_once_are_right_where_all_of_them_are():
    logits = np.float32([[1, -1, 2], [-1, -1, -1], [1, 1, -1]])
    targets = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 0, 0]])
    report = judge_answers(logits, targets, task=Task.LABEL_SET, labels=NAMES)
    assert report.quality.accuracy == pytest.approx(2 / 3)
    np.testing.assert_allclose([each.f1 for each in report.by_label], [1.0, 0.0, 1.0])
    assert report.confusion == ()


def test_scores_are_judged_by_their_error_and_their_order():
    logits = np.float32([[0.0], [1.0], [5.0]])
    report = judge_answers(logits, torch.tensor([0.0, 2.0, 3.0]), task=Task.SCORE, labels=("score",))
    assert report.quality == Quality(loss=pytest.approx(5 / 3), spearman=pytest.approx(1.0))
    assert report.by_label == ()
    assert not report.collapse


@pytest.mark.parametrize(
    ("answers", "is_collapsed"), [([0, 0, 0, 0], True), ([0, 0, 0, 1], False), ([0, 1, 2, 0], False)]
)
def test_a_classifier_that_knows_few_of_its_labels_has_collapsed(answers: list[int], is_collapsed: bool):
    targets = torch.tensor([0, 1, 2, 0])
    report = judge_answers(one_hot(answers), targets, task=Task.ONE_LABEL, labels=NAMES)
    assert bool(report.collapse) is is_collapsed
    if is_collapsed:
        assert (
            "answers with 1 of the 3 labels that the rows hold: 'a' to 100.0% of the rows" in report.collapse
        )


def test_rows_of_one_label_answered_with_it_are_no_collapse():
    report = judge_answers(one_hot([0, 0]), torch.tensor([0, 0]), task=Task.ONE_LABEL, labels=NAMES)
    assert not report.collapse


def test_scores_that_hardly_differ_are_a_collapse():
    logits = np.float32([[1.0], [1.01], [1.02]])
    report = judge_answers(logits, torch.tensor([0.0, 2.0, 3.0]), task=Task.SCORE, labels=("score",))
    assert report.collapse.startswith("the answers hardly differ: ")


def test_more_is_better_of_what_epochs_are_compared_by():
    quality = Quality(loss=0.5, accuracy=0.9, macro_f1=0.8)
    assert [quality.by(each) for each in (BestBy.LOSS, BestBy.ACCURACY, BestBy.MACRO_F1)] == [-0.5, 0.9, 0.8]


def test_of_very_many_labels_there_is_no_confusion_matrix():
    rng = np.random.default_rng(0)
    labels = [f"label {number}" for number in range(1001)]
    logits = rng.random((50, 1001), dtype=np.float32)
    targets = torch.from_numpy(np.where(rng.random(50) < 0.5, logits.argmax(1), 3))
    report = judge_answers(logits, targets, task=Task.ONE_LABEL, labels=labels)
    assert report.confusion == ()
    assert report.quality.accuracy == (logits.argmax(1) == targets.numpy()).mean()
    assert sum(each.num_true for each in report.by_label) == 50
