import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.finetuning.label_quality import judge_labels, macro_f1

NAMES = ("a", "b", "c")
ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30)


def judged(rows: list[tuple[int, int]]):
    """What is said of rows that have one label (first) and are answered with another."""
    confusion = np.zeros((3, 3), dtype=np.int64)
    for true, answer in rows:
        confusion[true, answer] += 1
    return judge_labels(np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0), NAMES)


@given(ROWS)
def test_each_label_is_judged_by_the_rows_that_have_it_and_that_are_answered_with_it(rows):
    for place, found in enumerate(judged(rows)):
        having = [answer == place for true, answer in rows if true == place]
        answered = [true == place for true, answer in rows if answer == place]
        assert (found.label, found.num_true, found.num_predicted) == (
            NAMES[place],
            len(having),
            len(answered),
        )
        assert found.recall == (np.mean(having) if having else 0.0)
        assert found.precision == (np.mean(answered) if answered else 0.0)
        total = found.precision + found.recall
        assert found.f1 == pytest.approx(2 * found.precision * found.recall / total if total else 0.0)


@given(ROWS)
def test_labels_that_nothing_has_and_nothing_is_answered_with_are_no_part_of_the_mean(rows):
    by_label = judged(rows)
    met = {label for row in rows for label in row}
    expected = sum(by_label[label].f1 for label in met) / max(len(met), 1)
    assert macro_f1(by_label) == pytest.approx(expected)
