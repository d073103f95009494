import numpy as np
import pytest

from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.exits.predictions import Predictions, probabilities


@pytest.fixture
def answers():
    logits = np.array([[0.0, np.log(3)], [1000.0, 0.0], [-1.0, -2.0]], dtype=np.float32)
    return Predictions(
        labels=("no", "yes"),
        rule=AnswerRule(task=Task.ONE_LABEL),
        logits=logits,
        uncertainty=np.zeros(3, dtype=np.float32),
        first_uncertainty=np.zeros(3, dtype=np.float32),
        exit_layer=np.array([1, 2, 2], dtype=np.int16),
        num_tokens=np.array([4, 5, 6]),
        truncated=np.zeros(3, dtype=np.bool_),
        full_depth_logits=np.full((3, 2), np.nan, dtype=np.float32),
        num_processed_tokens=30,
        num_real_tokens=25,
    )


def test_answers_are_the_names_of_the_largest_logits(answers):
    assert len(answers) == 3
    assert answers.label_ids.tolist() == [1, 0, 0]
    assert answers.predictions == ["yes", "no", "no"]


def test_probabilities_are_a_softmax_that_overflows_nowhere(answers):
    found = answers.probabilities
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:2], [[0.25, 0.75], [1, 0]], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(probabilities(answers.logits, Task.ONE_LABEL), found)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=0, atol=1e-6)
