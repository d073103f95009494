"""As a Python user fine-tunes: a model in memory, texts in memory, no files."""

import random
from copy import deepcopy

import pytest
import torch

from model.engine.execution import Precision, resolve_execution
from model.errors import InputError, ParameterError, TrainingError
from model.training.classifier import finetune
from model.training.finetuning.settings import ClassWeights, FinetuningSettings
from model.training.labelled_texts import LabelledTexts
from model.training.training_config import TrainingConfig

LABELS = ("label 0", "label 1")
WORDS = ("dog", "fox", "fence", "lunch", "brown", "quick", "lazy", "over", "the")


def rows_of(num_rows, *, seed, turned=False):
    """Texts told apart by a single word."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(2, 6))) for _ in range(num_rows)]
    return LabelledTexts(texts=texts, labels=[LABELS[("fox" in text.split()) != turned] for text in texts])


ROWS, EVALUATION = rows_of(120, seed=0), rows_of(50, seed=1)


def config(**options):
    return TrainingConfig(**{"epochs": 2, "learning_rate": 3e-3, "batch_size": 8, **options})


@pytest.fixture
def model(make_classifier):
    return make_classifier("bert", num_labels=2, num_layers=2)


def accuracy_of(model, tokenizer, rows):
    """By plain and slow code."""
    right = 0
    with torch.no_grad():
        for text, label in zip(rows.texts, rows.labels, strict=True):
            logits = model(**tokenizer([text], return_tensors="pt")).logits[0]
            right += model.config.id2label[int(logits.argmax())] == label
    return right / len(rows)


def test_what_can_be_told_apart_is_learnt(model, tokenizer):
    result = finetune(model, tokenizer, ROWS, config(epochs=10), evaluation=EVALUATION)
    assert accuracy_of(model, tokenizer, EVALUATION) > 0.9
    assert [epoch.epoch for epoch in result.epochs] == list(range(1, 11))
    assert result.epochs[-1].loss < 0.5 * result.epochs[0].loss
    assert not model.training


def test_the_weights_of_the_best_epoch_are_restored(model, tokenizer):
    # Labelled the wrong way round: the more is learnt, the worse.
    turned = rows_of(50, seed=1, turned=True)
    weights, told = [], []

    def on_epoch(epoch):
        told.append(epoch)
        weights.append({name: value.clone() for name, value in model.state_dict().items()})

    result = finetune(model, tokenizer, ROWS, config(epochs=6), evaluation=turned, on_epoch=on_epoch)
    accuracies = [epoch.quality.accuracy for epoch in result.epochs]
    assert told == result.epochs
    assert result.report.quality.accuracy == max(accuracies) > accuracies[-1]
    assert accuracy_of(model, tokenizer, turned) == pytest.approx(max(accuracies))
    assert accuracies[result.best_epoch - 1] == max(accuracies)
    best = weights[result.best_epoch - 1]
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())


def test_without_evaluation_the_last_epoch_stays(model, tokenizer):
    judged = deepcopy(model)
    steps = []
    result = finetune(model, tokenizer, ROWS, config(), on_step=lambda report: steps.append(report))
    assert (result.report, result.best_epoch) == (None, None)
    assert [epoch.quality for epoch in result.epochs] == [None, None]
    assert [report.step for report in steps] == list(range(1, 31))
    for epoch, first in zip(result.epochs, (0, 15), strict=True):
        assert epoch.loss == pytest.approx(sum(report.loss for report in steps[first : first + 15]) / 15)
    # Judging changes nothing in what is learnt.
    told = finetune(judged, tokenizer, ROWS, config(), evaluation=EVALUATION)
    assert [epoch.loss for epoch in told.epochs] == [epoch.loss for epoch in result.epochs]


def test_the_seed_decides_the_weights_whatever_the_callers_is(model, tokenizer):
    same, other = deepcopy(model), deepcopy(model)
    finetune(model, tokenizer, ROWS, config(seed=3))
    torch.manual_seed(999)
    finetune(same, tokenizer, ROWS, config(seed=3))
    finetune(other, tokenizer, ROWS, config(seed=4))
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in same.state_dict().items())
    assert not all(torch.equal(value, expected[name]) for name, value in other.state_dict().items())


def test_the_callers_random_numbers_and_gradients_stay_what_they_were(model, tokenizer):
    before = torch.get_rng_state()
    finetune(model, tokenizer, ROWS, config(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_who_is_interrupted_has_a_model_to_answer_with(model, tokenizer):
    def interrupt(report):
        if report.step == 20:  # in the second epoch
            raise KeyboardInterrupt

    once = deepcopy(model)
    with pytest.raises(KeyboardInterrupt):
        finetune(model, tokenizer, ROWS, config(), evaluation=EVALUATION, on_step=interrupt)
    assert not model.training
    # The best epoch's weights are the first's: it is the only one that was finished.
    after_first = {}

    def keep(epoch):
        if epoch.epoch == 1:
            after_first.update({name: value.clone() for name, value in once.state_dict().items()})

    finetune(once, tokenizer, ROWS, config(), evaluation=EVALUATION, on_epoch=keep)
    assert all(torch.equal(value, after_first[name]) for name, value in model.state_dict().items())


def test_pairs_are_read_as_pairs(model, tokenizer):
    of_pairs = deepcopy(model)
    pairs = LabelledTexts(texts=ROWS.texts, text_pairs=ROWS.texts[::-1], labels=ROWS.labels)
    finetune(model, tokenizer, ROWS, config())
    finetune(of_pairs, tokenizer, pairs, config())
    expected = model.state_dict()
    assert not all(torch.equal(value, expected[name]) for name, value in of_pairs.state_dict().items())


@pytest.mark.parametrize("which", ["rows", "evaluation"])
def test_labels_that_the_model_does_not_know_are_refused(model, tokenizer, which):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    strangers = LabelledTexts(texts=["a", "the"], labels=["label 1", "label 7"])
    given = {"rows": ROWS, "evaluation": EVALUATION, which: strangers}
    with pytest.raises(InputError, match="the model has no label 'label 7'"):
        finetune(model, tokenizer, given["rows"], config(), evaluation=given["evaluation"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("which", ["rows", "evaluation"])
def test_no_texts_at_all_are_refused(model, tokenizer, which):
    given = {"rows": ROWS, "evaluation": EVALUATION, which: LabelledTexts(texts=[], labels=[])}
    with pytest.raises(InputError, match="there are no labelled texts to train on or to judge by"):
        finetune(model, tokenizer, given["rows"], config(), evaluation=given["evaluation"])


def test_longer_texts_than_the_model_takes_are_refused(model, tokenizer):
    with pytest.raises(ParameterError, match="`max_length` 49 is not between 4 and 48"):
        finetune(model, tokenizer, ROWS, config(), max_length=49)


def test_weights_that_are_not_finite_end_training(model, tokenizer):
    with torch.no_grad():
        model.classifier.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="the loss of step 1 is nan"):
        finetune(model, tokenizer, ROWS, config())


def test_accumulated_batches_are_the_step_of_one_large_batch(model, tokenizer):
    # Without dropout, which draws anew for every batch.
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    whole = deepcopy(model)
    halves = FinetuningSettings(gradient_accumulation=2, class_weights=ClassWeights.BALANCED)
    steps, expected = [], []
    finetune(model, tokenizer, ROWS, config(epochs=1, batch_size=4), halves, on_step=steps.append)
    once = FinetuningSettings(class_weights=ClassWeights.BALANCED)
    finetune(whole, tokenizer, ROWS, config(epochs=1, batch_size=8), once, on_step=expected.append)
    assert len(steps) == len(expected) == 15
    losses = [[report.loss for report in each] for each in (steps, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    # The first step's are of equal weights; each loss is of its whole step, whatever is weighed how.
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)


def test_fp16_is_refused(model, tokenizer):
    with pytest.raises(ParameterError, match="`precision` fp16 is too coarse to train in; give fp32 or bf16"):
        finetune(model, tokenizer, ROWS, config(), execution=resolve_execution(Precision.FP16, device="cpu"))
