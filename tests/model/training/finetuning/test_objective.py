import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from model.answers.task import Task
from model.checkpoints.loading import task_of
from model.errors import InputError, ParameterError
from model.training.finetuning.objective import Objective, make_targets
from model.training.finetuning.settings import ClassWeights

LABELS = {
    Task.ONE_LABEL: ["b", "a", "c", "b"],
    Task.LABEL_SET: [("b",), (), ("a", "c"), ("c",)],
    Task.SCORE: [0.5, -1.0, 2.0, 0.0],
}


def config_of(task: Task) -> BertConfig:
    labels = ("score",) if task is Task.SCORE else ("a", "b", "c")
    return BertConfig(
        problem_type=task.value, id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)}, hidden_size=8, num_attention_heads=2,
        num_hidden_layers=1, intermediate_size=8, vocab_size=20, hidden_dropout_prob=0.0,
    )  # fmt: skip


@pytest.mark.parametrize("task", Task)
def test_the_loss_is_that_of_hugging_face(task: Task):
    config = config_of(task)
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval()
    targets = make_targets(LABELS[task], config)
    with torch.no_grad():
        theirs = model(input_ids=torch.arange(16).view(4, 4), labels=targets)
    ours = Objective(task=task_of(config, "mine")).losses(theirs.logits, targets)
    assert ours.shape == (4,)
    torch.testing.assert_close(ours.mean(), theirs.loss)


def test_balanced_rows_of_all_labels_weigh_the_same():
    config = config_of(Task.ONE_LABEL)
    targets = make_targets(["a"] * 6 + ["b"] * 3 + ["c"], config)
    weights = Objective.of(config, targets, ClassWeights.BALANCED).row_weights(targets)
    for label in range(3):
        assert float(weights[targets == label].sum()) == pytest.approx(10 / 3)
    even = Objective.of(config, targets, ClassWeights.NONE).row_weights(targets)
    assert even.tolist() == [1.0] * 10


def test_balanced_positives_of_a_label_weigh_as_much_as_its_negatives():
    config = config_of(Task.LABEL_SET)
    targets = make_targets([("a",), ("a", "b"), ("a",), ("c",)], config)
    objective = Objective.of(config, targets, ClassWeights.BALANCED)
    # At a logit of 0 every target costs log 2: of each label the positives' share of the loss is one half.
    losses = objective.losses(torch.zeros(4, 3), targets)
    expected = torch.tensor([[1 / 3, 1, 1], [1 / 3, 3, 1], [1 / 3, 1, 1], [1, 1, 3]]).mean(dim=1)
    torch.testing.assert_close(losses, expected * torch.tensor(2.0).log())


@pytest.mark.parametrize("task", [Task.LABEL_SET, Task.SCORE])
def test_no_other_answer_to_all_texts_has_less_loss_than_the_best_constant(task: Task):
    config = config_of(task)
    targets = make_targets(LABELS[task] * 50, config)
    objective = Objective(task=task)
    best = objective.best_constant(targets)

    def loss(logits):
        return float(objective.losses(logits.expand(len(targets), -1), targets).mean())

    for step in (-0.1, 0.1):
        for place in range(len(best)):
            other = best.clone()
            other[place] += step
            assert loss(other) > loss(best)


def test_balanced_labels_and_one_of_several_have_no_constant_of_their_own():
    targets = make_targets(LABELS[Task.LABEL_SET], config_of(Task.LABEL_SET))
    balanced = Objective.of(config_of(Task.LABEL_SET), targets, ClassWeights.BALANCED)
    assert balanced.best_constant(targets) is None
    one_label = make_targets(LABELS[Task.ONE_LABEL], config_of(Task.ONE_LABEL))
    assert Objective(task=Task.ONE_LABEL).best_constant(one_label) is None


def test_a_regression_has_no_classes():
    config = config_of(Task.SCORE)
    with pytest.raises(ParameterError, match="`class_weights` balanced: a regression has no classes"):
        Objective.of(config, torch.zeros(3), ClassWeights.BALANCED)


@pytest.mark.parametrize(
    ("task", "label", "message"),
    [
        (Task.ONE_LABEL, "z", "the model has no label 'z'"),
        (Task.LABEL_SET, ("a", "z"), "the model has no label 'z'"),
        (Task.ONE_LABEL, ("a",), r"is for single_label_classification, and \('a',\) is no label of that"),
        (Task.SCORE, "a", "the model is for regression, and 'a' is no label of that"),
    ],
)
def test_labels_of_another_model_are_refused(task: Task, label: object, message: str):
    with pytest.raises(InputError, match=message):
        make_targets([label], config_of(task))  # type: ignore[list-item]
