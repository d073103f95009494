"""Each kind of answer against its definition, written out."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from model.answers.answer import (
    EXACT_LOG_VARIANCE,
    LabelCuts,
    OneLabel,
    ScoreCuts,
    ScoreWithin,
    answer_of,
)
from model.answers.rule import AnswerRule, Cut
from model.answers.scaling import Scaling
from model.answers.task import Task
from model.answers.uncertainty import normalised_entropy
from model.errors import ParameterError

LABELS = ("ham", "spam", "other")
LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=3)
CUTS = st.floats(0.02, 0.98)
TEMPERATURES = st.sampled_from([0.4, 1.0, 3.0])
SCORES = st.tuples(st.floats(-5, 5, width=32), st.floats(-4, 3, width=32))


def tensor(values):
    return torch.tensor(values, dtype=torch.float32)


@given(LOGITS, LOGITS, TEMPERATURES)
def test_one_label_is_the_highest_and_unsure_by_its_entropy(logits, others, temperature):
    answer = OneLabel(LABELS)
    highest = int(np.argmax(logits))
    assert answer.calls(tensor(logits)).tolist() == [label == highest for label in range(3)]
    assert bool(answer.differs(tensor(logits), tensor(others))) == (highest != int(np.argmax(others)))
    found = answer.uncertainty(tensor([logits]), Scaling.by(temperature))
    assert torch.equal(found, normalised_entropy(tensor([logits]) / temperature))


@given(LOGITS, CUTS, TEMPERATURES)
def test_a_cut_of_one_of_several_labels_is_its_softmax_against_the_cut(logits, cut, temperature):
    answer = LabelCuts(LABELS, {"spam": cut}, one_holds=True)
    odds = np.exp(np.array(logits, dtype=np.float64))
    share = odds[1] / odds.sum()
    margin = math.log(share / (1 - share)) - math.log(cut / (1 - cut))
    if abs(margin) > 1e-4:
        assert answer.calls(tensor(logits)).tolist() == [share >= cut]
    assert float(answer.margins(tensor(logits))) == pytest.approx(margin, abs=1e-4)
    other_side = 1 / (1 + math.exp(abs(margin) / temperature))
    assert float(answer.uncertainty(tensor(logits), Scaling.by(temperature))) == pytest.approx(
        other_side, abs=1e-4
    )


@given(LOGITS, LOGITS, CUTS, TEMPERATURES)
def test_a_set_is_the_labels_that_reach_their_cuts_each_by_itself(logits, others, cut, temperature):
    answer = LabelCuts(LABELS, {"ham": 0.5, "spam": cut, "other": 0.5}, one_holds=False)
    margins = np.array(logits) - [0, math.log(cut / (1 - cut)), 0]
    assert answer.calls(tensor(logits)).tolist() == (margins.astype(np.float32) >= 0).tolist()
    differs = answer.calls(tensor(logits)) != answer.calls(tensor(others))
    assert bool(answer.differs(tensor(logits), tensor(others))) == bool(differs.any())
    same = np.prod(1 / (1 + np.exp(-np.abs(margins) / temperature)))
    assert float(answer.uncertainty(tensor(logits), Scaling.by(temperature))) == pytest.approx(
        1 - same, abs=1e-4
    )


BIASES = st.lists(st.floats(-4, 4, width=32), min_size=3, max_size=3)
OF_LABELS = st.lists(st.floats(0.0625, 20, width=32), min_size=3, max_size=3)


@given(LOGITS, CUTS, OF_LABELS, BIASES)
def test_a_label_of_a_set_has_a_temperature_and_a_bias_of_its_own(logits, cut, temperatures, biases):
    """The exit calls what its margins say; unsure is how likely the full model is on the other side."""
    answer = LabelCuts(LABELS, {"ham": 0.5, "spam": cut, "other": 0.5}, one_holds=False)
    scaling = Scaling(temperatures=temperatures, biases=biases)
    margins = answer.margins(tensor(logits)).double().numpy()
    called = answer.calls(tensor(logits)).numpy()
    reached = 1 / (1 + np.exp(-(margins / temperatures + biases)))
    same = np.prod(np.where(called, reached, 1 - reached))
    assert float(answer.uncertainty(tensor(logits), scaling)) == pytest.approx(1 - same, abs=1e-4)
    assert float(answer.confidence(tensor(logits), scaling)) == pytest.approx(same, abs=1e-4)


@given(LOGITS, LOGITS, TEMPERATURES, st.booleans())
def test_equal_temperatures_without_biases_are_one_temperature(logits, others, temperature, one_holds):
    answer = LabelCuts(LABELS, dict.fromkeys(LABELS, 0.3), one_holds=one_holds)
    apart = Scaling(temperatures=(temperature,) * 3, biases=(0.0,) * 3)
    values, by_teacher = tensor([logits]), tensor([others])
    for found in (answer.uncertainty, answer.confidence):
        assert float(found(values, apart)) == pytest.approx(
            float(found(values, Scaling.by(temperature))), abs=1e-6
        )
    losses = (float(answer.loss(values, by_teacher, each)) for each in (apart, Scaling.by(temperature)))
    assert next(losses) == pytest.approx(next(losses), rel=1e-5)


def test_an_exit_that_calls_what_is_unlikely_is_very_unsure():
    answer = LabelCuts(LABELS, dict.fromkeys(LABELS, 0.5), one_holds=False)
    scaling = Scaling(temperatures=(1, 1, 1), biases=(-5, 0, 0))
    found = answer.uncertainty(tensor([[1.0, 9.0, 9.0], [-1.0, 9.0, 9.0]]), scaling)
    assert found[0] > 0.98
    assert found[1] < 0.01


@given(SCORES, st.lists(st.floats(-5, 5, width=16), min_size=1, max_size=3, unique=True), TEMPERATURES)
def test_between_cuts_unsure_is_the_chance_to_lie_elsewhere(logits, cuts, temperature):
    cuts = sorted(cuts)
    answer, (score, log_variance) = ScoreCuts(cuts), logits
    assert answer.calls(tensor(logits)).tolist() == [score >= cut for cut in cuts]
    edges, place = [-math.inf, *cuts, math.inf], sum(score >= cut for cut in cuts)
    spread = t(2, score, math.exp(log_variance / 2) * temperature)
    inside = spread.cdf(edges[place + 1]) - spread.cdf(edges[place])
    assert float(answer.uncertainty(tensor(logits), Scaling.by(temperature))) == pytest.approx(
        1 - inside, abs=1e-5
    )


@given(SCORES, st.floats(-5, 5, width=32), st.floats(0.05, 3), TEMPERATURES)
def test_within_a_tolerance_unsure_is_the_chance_to_be_further_away(logits, other, tolerance, temperature):
    answer, (score, log_variance) = ScoreWithin(tolerance), logits
    if abs(abs(score - other) - tolerance) > 1e-5:
        assert bool(answer.differs(tensor(logits), tensor([other]))) == (abs(score - other) > tolerance)
    deviation = math.exp(log_variance / 2) * temperature
    expected = 2 * t(2).cdf(-tolerance / deviation)
    assert float(answer.uncertainty(tensor(logits), Scaling.by(temperature))) == pytest.approx(
        expected, abs=1e-5
    )


def test_of_a_score_without_a_tolerance_no_exit_is_ever_sure_and_full_depth_is():
    rule = AnswerRule(task=Task.SCORE)
    assert not rule.is_decidable
    answer = answer_of(rule, ["quality"])
    found = answer.uncertainty(tensor([[1.0, -9.0], [1.0, 2.0], [1.0, EXACT_LOG_VARIANCE]]))
    assert found.tolist() == [1, 1, 0]


@pytest.mark.parametrize("score", [2.9, 3.0, 3.1])
def test_full_depth_is_sure_of_its_side_of_a_cut(score):
    assert ScoreCuts([3.0]).uncertainty(tensor([score, EXACT_LOG_VARIANCE])) == 0


KINDS = {
    "label": (OneLabel(LABELS), 3),
    "cut": (LabelCuts(LABELS, {"spam": 0.9}, one_holds=True), 3),
    "set": (LabelCuts(LABELS, dict.fromkeys(LABELS, 0.5), one_holds=False), 3),
    "side": (ScoreCuts([0.0, 1.0]), 2),
    "score": (ScoreWithin(0.5), 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_number_is_as_unsure_as_that(kind):
    answer, width = KINDS[kind]
    assert answer.uncertainty(torch.full((1, width), torch.nan)).isnan().all()


@pytest.mark.parametrize("kind", KINDS)
def test_many_at_once_are_what_each_is_alone(kind):
    answer, width = KINDS[kind]
    logits = torch.randn(4, 5, width, generator=torch.Generator().manual_seed(0))
    at_once = answer.uncertainty(logits, Scaling.by(0.5))
    for row, exit_place in product(range(4), range(5)):
        alone = answer.uncertainty(logits[row, exit_place], Scaling.by(0.5))
        assert float(at_once[row, exit_place]) == pytest.approx(float(alone), abs=1e-6)
    assert (at_once >= 0).all()
    assert (at_once <= 1).all()
    assert not answer.differs(logits, logits).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_temperature_is_fitted_where_the_loss_is_least(kind):
    """Of answers drawn as unsurely as an exit is at temperature 2, the loss is less there than beside."""
    answer, width = KINDS[kind]
    rng, rows = np.random.default_rng(0), 20_000
    logits = rng.normal(0, 1.5, (rows, width))
    if kind == "label":
        noise = rng.gumbel(size=logits.shape)
        full_depth = np.eye(3)[(logits / 2 + noise).argmax(axis=1)]
    elif width == 3:
        full_depth = logits + 2 * rng.logistic(size=logits.shape) * [1, 1, 1]
        if kind == "cut":
            margins = answer.margins(torch.from_numpy(logits)).numpy()[:, 0]
            spam = margins + 2 * rng.logistic(size=rows) >= 0
            full_depth = np.stack([np.zeros(rows), np.where(spam, 9.0, -9.0), np.zeros(rows)], axis=1)
    else:
        full_depth = logits[:, :1] + 2 * np.exp(logits[:, 1:] / 2) * rng.standard_t(2, size=(rows, 1))
    at = {
        temperature: float(
            answer.loss(torch.from_numpy(logits), torch.from_numpy(full_depth), Scaling.by(temperature))
        )
        for temperature in (1.5, 2.0, 2.7)
    }
    assert at[2.0] < min(at[1.5], at[2.7])


@pytest.mark.parametrize("kind", ["label", "side", "score"])
def test_scalings_by_name_are_of_cuts_of_labels_alone(kind):
    answer, width = KINDS[kind]
    by_name = Scaling(temperatures=(1, 2, 3), biases=(0, 0, 0))
    with pytest.raises(ParameterError, match="`biases` are of sets of labels"):
        answer.uncertainty(torch.zeros(2, width), by_name)


def test_scalings_of_other_labels_are_refused():
    answer, width = KINDS["set"]
    for number in (1, 2):
        other = Scaling(temperatures=(2.0,) * number, biases=(0.5,) * number)
        with pytest.raises(ParameterError, match=f"`biases` has {number} values, and there are 3 cuts"):
            answer.uncertainty(torch.zeros(2, width), other)


def test_of_two_values_the_chance_of_the_other_is_known_however_small_it_is():
    """An exit that is sure of one of two values to a share tells shares apart that a normal curve calls 0."""
    shares = np.array([1e-2, 1e-3, 1e-4, 1e-5])
    value, variance = 1 - 2 * shares, 4 * shares * (1 - shares)
    logits = torch.from_numpy(np.stack([value, np.log(variance)], axis=1))
    found = ScoreCuts([0.0]).uncertainty(logits).numpy()
    np.testing.assert_allclose(found, 2 * shares, rtol=0.1)


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (AnswerRule(task=Task.ONE_LABEL), LABELS),
        (AnswerRule(task=Task.ONE_LABEL, cuts=(Cut(label="spam", value=0.9),)), ("spam",)),
        (AnswerRule(task=Task.LABEL_SET), LABELS),
        (AnswerRule(task=Task.LABEL_SET, cuts=(Cut(label="spam", value=0.9),)), LABELS),
        (
            AnswerRule(task=Task.SCORE, cuts=(Cut(label="", value=2.5), Cut(label="", value=3))),
            (">=2.5", ">=3"),
        ),
        (AnswerRule(task=Task.SCORE, tolerance=0.5), ()),
    ],
    ids=str,
)
def test_a_rule_gives_the_answer_that_it_describes(rule, names):
    labels = ["quality"] if rule.task is Task.SCORE else LABELS
    assert answer_of(rule, labels).names == rule.names(labels) == names
