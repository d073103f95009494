"""Full depth, exits and predictions of models that answer with a score, or with several labels at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.answers.answer import EXACT_LOG_VARIANCE
from model.answers.rule import AnswerRule, Cut
from model.answers.task import Task
from model.errors import CheckpointError, ParameterError
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification

TASKS = {Task.SCORE: 1, Task.LABEL_SET: 3}


@pytest.fixture(scope="module", params=TASKS)
def model(request, make_fastbert) -> FastBertForSequenceClassification:
    return make_fastbert("bert", num_labels=TASKS[request.param], problem_type=str(request.param))


def hugging_face(model, texts):
    inputs = model.tokenizer(
        list(texts), padding=True, truncation=True, max_length=model.config.max_length, return_tensors="pt"
    )
    with torch.inference_mode():
        return model.backbone(**inputs).logits.numpy()


def test_speed_0_is_the_hugging_face_model(model, texts):
    found, expected = model.predict(texts, speed=0), hugging_face(model, texts)
    np.testing.assert_allclose(found.logits[:, : expected.shape[1]], expected, rtol=0, atol=1e-5)
    assert (found.exit_layer == model.num_layers).all()
    if model.task is Task.SCORE:
        assert found.predictions == found.scores.tolist()
        assert (found.logits[:, 1] == EXACT_LOG_VARIANCE).all()
        assert (found.uncertainty == 0).all()
    else:
        np.testing.assert_allclose(
            found.probabilities, torch.from_numpy(expected).sigmoid(), rtol=0, atol=1e-5
        )
        sets = [tuple(np.array(model.labels)[row >= 0]) for row in expected]
        assert found.predictions == sets


def test_every_text_leaves_where_its_uncertainty_says(model, texts):
    """The sweep against every exit run for itself."""
    decide = [">=0.1"] if model.task is Task.SCORE else ["label 1>=0.7"]
    found = model.predict(texts, speed=0.3, decide=decide)
    assert len(set(found.exit_layer.tolist())) > 1
    at_exits = [
        model.predict(texts, policy=ExitPolicy.from_exit_layer(layer, num_layers=model.num_layers))
        for layer in range(1, model.num_layers + 1)
    ]
    answer = found.answer
    for row in range(len(texts)):
        logits = [torch.from_numpy(each.logits[row]) for each in at_exits]
        unsure = [float(answer.uncertainty(each)) for each in logits[:-1]]
        first = next((place for place, value in enumerate(unsure) if value < 0.3), len(unsure))
        assert found.exit_layer[row] == first + 1
        assert found.uncertainty[row] == pytest.approx(float(answer.uncertainty(logits[first])), abs=1e-5)


def test_scores_of_which_nobody_said_when_two_are_the_same_leave_nowhere_early(model, texts):
    if model.task is not Task.SCORE:
        pytest.skip("sets of labels are the same where they are equal")
    with pytest.raises(ParameterError, match="no exit can be sure of a score; say by `decide`"):
        model.predict(texts, speed=0.9)
    policy = ExitPolicy(thresholds=(1.0,) * (model.num_layers - 1), name="any")
    assert (model.predict(texts, policy=policy).exit_layer == model.num_layers).all()


def test_a_policy_of_another_task_is_refused(model, texts):
    other = AnswerRule(task=Task.ONE_LABEL, cuts=(Cut(label="label 1", value=0.5),))
    policy = replace(ExitPolicy.from_speed(0.5, num_layers=model.num_layers), answer=other)
    with pytest.raises(ParameterError, match=f"`policy` compares answers of {other.task}, and this model is"):
        model.predict(texts, policy=policy)
    with pytest.raises(ParameterError, match="`policy` says what is decided"):
        model.predict(texts, policy=policy, decide=["label 1>=0.5"])


def test_it_is_saved_and_loaded_with_its_task(model, texts, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = FastBertForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.task is model.task
    decide = [">=0.1"] if model.task is Task.SCORE else []
    one, other = (each.predict(texts, speed=0.3, decide=decide) for each in (model, loaded))
    np.testing.assert_array_equal(one.logits, other.logits)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"num_labels": 3, "problem_type": "regression"}, "has 3 scores; a regression of one is needed"),
        ({"num_labels": 1, "problem_type": "ordinal"}, "is for ordinal; known are single_label"),
    ],
)
def test_tasks_that_are_none_are_refused(make_fastbert, config, told):
    with pytest.raises(CheckpointError, match=told):
        make_fastbert("bert", **config)
