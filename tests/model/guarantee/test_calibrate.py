from dataclasses import replace

import numpy as np
import pytest
import torch

from model.answers.answer import OneLabel
from model.answers.rule import AnswerRule
from model.answers.scaling import Scaling
from model.answers.task import Task
from model.cost.network_flops import fastbert_flops
from model.engine.execution import Backend, Precision, resolve_execution
from model.errors import ArtifactError, CheckpointError, InputError
from model.exits.binding import running_as
from model.exits.exit_logits import all_exit_logits
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.exits.teacher import Teacher
from model.fastbert import FastBertForSequenceClassification
from model.guarantee import calibrate as module
from model.guarantee.calibrate import calibrate, check_same_model
from model.guarantee.temperature_scaling import exit_uncertainty, fit_scaling
from model.tokens.tokenization import tokenize
from tests.plain_early_exit import plain_exits, plain_uncertainty

LABELS_OF_3 = AnswerRule(task=Task.ONE_LABEL), ("a", "b", "c")
FP32 = resolve_execution(Precision.FP32, device="cpu")
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "serve", "lunch"]


@pytest.fixture(scope="module")
def corpus():
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(5, 12))) for _ in range(130)]


@pytest.fixture(scope="module")
def saved(checkpoints):
    """A FastBERT that has a hash."""
    return FastBertForSequenceClassification.from_pretrained(checkpoints["fastbert"])


def teacher_logits_of(model, texts, pairs=None, execution=FP32):
    tokenized = tokenize(model.tokenizer, texts, pairs, max_length=model.config.max_length)
    return Teacher.of(model.backbone, model.tokenizer, execution).logits(tokenized)


@pytest.fixture(scope="module")
def teacher_logits(saved, corpus):
    return teacher_logits_of(saved, corpus)


@pytest.fixture(scope="module")
def exits(saved, corpus, teacher_logits):
    return calibrate(saved, corpus, teacher_logits, execution=FP32)


def test_every_exits_answers_are_those_that_it_gives(exits, saved, corpus, make_engine):
    tokenized = tokenize(saved.tokenizer, corpus, max_length=48)
    np.testing.assert_array_equal(exits.logits, all_exit_logits(make_engine(saved), tokenized))
    assert exits.logits.dtype == np.float32
    assert exits.num_tokens.tolist() == tokenized.lengths.tolist()
    assert (len(exits), list(exits.exits), exits.labels) == (130, [1, 2, 3, 4], saved.labels)
    assert exits.flops == fastbert_flops(saved.config)
    assert exits.cost.layer_seconds > 0


def test_what_it_holds_for_is_what_it_was_run_with(exits, saved, checkpoints):
    assert exits.calibrated_for == running_as(saved.engine(FP32), 48)
    assert exits.calibrated_for.model_hash == saved.model_hash
    assert exits.calibrated_for.max_length == 48


def test_costs_are_measured_on_rows_that_search(saved, corpus, teacher_logits, monkeypatch):
    seen = []
    measure = module.measure_cost
    monkeypatch.setattr(
        module,
        "measure_cost",
        lambda engine, texts, flops: seen.append(texts) or measure(engine, texts, flops),
    )
    exits = calibrate(saved, corpus, teacher_logits, execution=FP32)
    searching = np.flatnonzero(exits.is_search)
    of_search = tokenize(saved.tokenizer, corpus, max_length=48).take(searching)
    [texts] = seen
    assert texts.input_ids.tolist() == of_search.input_ids.tolist()
    asked = []
    again = calibrate(
        saved,
        corpus,
        teacher_logits,
        execution=FP32,
        known_cost=lambda engine: asked.append(engine) or exits.cost,
    )
    assert len(seen) == 1
    assert asked == [exits.calibrated_for]
    assert again.cost == exits.cost


def test_scalings_are_fitted_on_the_rows_that_search(exits, teacher_logits):
    labels = teacher_logits.argmax(axis=1)
    assert exits.teacher_logits.argmax(axis=1).tolist() == labels.tolist()
    assert exits.is_search.sum() == 130 // 3
    assert exits.scalings == tuple(
        fit_scaling(exits.logits[exits.is_search, layer], exits.teacher_logits[exits.is_search], exits.answer)
        for layer in range(3)
    )


def test_held_out_texts_search(saved, corpus, teacher_logits):
    is_held_out = [row < 30 for row in range(130)]
    exits = calibrate(saved, corpus, teacher_logits, is_held_out=is_held_out, execution=FP32)
    assert exits.is_held_out.tolist() == is_held_out
    assert exits.is_search[:30].all()


@pytest.mark.parametrize(
    ("is_held_out", "message"),
    [
        ([True] * 31 + [False] * 99, "99 texts are too few to calibrate with; give 100"),
        ([False] * 129, "`is_held_out` has 129 flags for 130 texts"),
    ],
)
def test_held_out_texts_that_leave_too_few_or_are_not_as_many(
    saved, corpus, teacher_logits, is_held_out, message
):
    with pytest.raises(InputError, match=message):
        calibrate(saved, corpus, teacher_logits, is_held_out=is_held_out, execution=FP32)


def test_uncertainty_is_what_the_sweep_holds_against_thresholds(exits, saved, corpus, make_engine):
    engine = make_engine(saved)
    tokenized = tokenize(saved.tokenizer, corpus, max_length=48)
    for layer in range(1, 5):
        policy = ExitPolicy.from_exit_layer(layer, num_layers=4)
        swept = predict_tokenized(engine, tokenized, replace(policy, scalings=exits.scalings))
        np.testing.assert_allclose(exits.uncertainty[:, layer - 1], swept.uncertainty, rtol=0, atol=1e-5)


def test_of_a_set_each_label_is_scaled_by_itself_and_the_sweep_says_the_same(
    make_fastbert, make_engine, corpus, tmp_path
):
    make_fastbert("bert", num_labels=3, problem_type=str(Task.LABEL_SET)).save_pretrained(tmp_path)
    model = FastBertForSequenceClassification.from_pretrained(tmp_path)
    exits = calibrate(model, corpus, teacher_logits_of(model, corpus), execution=FP32)
    assert [len(each.biases) for each in exits.scalings] == [3, 3, 3]
    engine, tokenized = make_engine(model), tokenize(model.tokenizer, corpus, max_length=48)
    for layer in range(1, 5):
        policy = ExitPolicy.from_exit_layer(layer, num_layers=4)
        swept = predict_tokenized(engine, tokenized, replace(policy, scalings=exits.scalings))
        plain = predict_tokenized(engine, tokenized, policy)
        np.testing.assert_allclose(exits.uncertainty[:, layer - 1], swept.uncertainty, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(swept.logits, plain.logits)
        assert (swept.uncertainty == plain.uncertainty).all() == (layer == 4)
    policy = exits.policy(target_speedup=1.15)
    found = model.predict(corpus, policy=policy)
    assert found.exit_layer.tolist() == (exits.flops_outcomes.exits_taken(policy.thresholds) + 1).tolist()
    assert len(set(found.exit_layer.tolist())) > 1


def test_rows_leave_where_the_calibration_says_they_do(exits, saved, corpus, make_engine):
    policy = exits.policy(target_speedup=1.15)
    swept = saved.predict(corpus, policy=policy)
    assert swept.exit_layer.tolist() == (exits.flops_outcomes.exits_taken(policy.thresholds) + 1).tolist()
    assert len(set(swept.exit_layer.tolist())) > 1


def test_steps_tell_how_many_rows_are_done_and_change_nothing(
    saved, corpus, teacher_logits, exits, monkeypatch
):
    monkeypatch.setattr(module, "_ROWS_PER_STEP", 50)
    done = []
    stepped = calibrate(saved, corpus, teacher_logits, execution=FP32, on_rows=done.append)
    assert done == [50, 100, 130]
    np.testing.assert_allclose(stepped.logits, exits.logits, rtol=0, atol=1e-5)


def test_pairs_are_answered_as_pairs(saved, corpus):
    pairs = corpus[::-1]
    exits = calibrate(
        saved, corpus, teacher_logits_of(saved, corpus, pairs), text_pairs=pairs, execution=FP32
    )
    expected = np.stack([plain_exits(saved, *row) for row in zip(corpus[:5], pairs[:5], strict=True)])
    np.testing.assert_allclose(exits.logits[:5], expected, rtol=0, atol=1e-5)


def test_the_models_own_answers_in_16_bits_are_its_own(saved, corpus, teacher_logits):
    bf16 = resolve_execution(Precision.BF16, device="cpu")
    exits = calibrate(saved, corpus, teacher_logits, execution=bf16)
    assert exits.calibrated_for.precision == "bf16"


def test_another_models_answers_are_refused(saved, corpus, make_fastbert):
    other = make_fastbert("bert", seed=5)
    with pytest.raises(
        CheckpointError, match=r"`teacher_logits` are another model's answers: .* of the texts"
    ):
        calibrate(saved, corpus, teacher_logits_of(other, corpus), execution=FP32)


def test_answers_that_are_no_numbers_are_refused(saved, corpus, teacher_logits, make_fastbert):
    bad = teacher_logits.copy()
    bad[3, 1] = np.nan
    with pytest.raises(CheckpointError, match="answers NaN to 1 of 130 texts"):
        calibrate(saved, corpus, bad, execution=FP32)
    model = make_fastbert("bert")
    with torch.no_grad():
        model.branches[1].classifier.bias.fill_(torch.nan)
    with pytest.raises(CheckpointError, match="answers NaN to 130 of 130 texts"):
        calibrate(model, corpus, teacher_logits, execution=FP32)


def test_rows_that_no_bound_can_be_had_from_are_refused(saved, corpus, teacher_logits):
    with pytest.raises(InputError, match="99 texts are too few to calibrate with; give 100"):
        calibrate(saved, corpus[:99], teacher_logits[:99], execution=FP32)
    with pytest.raises(InputError, match="a text is there twice"):
        calibrate(saved, [*corpus[:129], corpus[0]], teacher_logits, execution=FP32)
    with pytest.raises(InputError, match=r"of shape \(20, 3\), and 130 texts of 3 labels need \(130, 3\)"):
        calibrate(saved, corpus, teacher_logits[:20], execution=FP32)


def test_a_text_may_stand_in_several_pairs(saved, corpus):
    firsts = [corpus[0]] * len(corpus)
    logits = teacher_logits_of(saved, firsts, corpus)
    assert len(calibrate(saved, firsts, logits, text_pairs=corpus, execution=FP32)) == 130


def test_the_same_model_is_told_by_its_spread():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (500, 3)).astype(np.float32)
    check_same_model(logits + rng.normal(0, 0.05, logits.shape).astype(np.float32), logits, *LABELS_OF_3)
    with pytest.raises(CheckpointError, match="another model's"):
        check_same_model(logits + rng.normal(0, 0.5, logits.shape).astype(np.float32), logits, *LABELS_OF_3)
    # What matters is the spread of the logits, not their size.
    with pytest.raises(CheckpointError, match="another model's"):
        check_same_model(
            logits + 100 + rng.normal(0, 0.5, logits.shape).astype(np.float32), logits + 100, *LABELS_OF_3
        )


def test_of_texts_that_are_answered_alike_rounding_is_no_other_model():
    rng = np.random.default_rng(0)
    alike = np.tile(np.array([2.0, -1.0, 0.5], dtype=np.float32), (40, 1))
    alike += rng.normal(0, 1e-6, alike.shape).astype(np.float32)
    for rounding in (1e-6, 1e-3):
        rounded = alike + rng.normal(0, rounding, alike.shape).astype(np.float32)
        check_same_model(rounded, alike, *LABELS_OF_3)
    with pytest.raises(CheckpointError, match="another model's"):
        check_same_model(alike + np.float32(0.1), alike, *LABELS_OF_3)


def test_uncertainty_is_scaled_exit_by_exit():
    logits = np.random.default_rng(0).normal(0, 2, (40, 3, 5)).astype(np.float32)
    scales = np.array([0.5, 4.0, 1.0])[:, None]
    found = exit_uncertainty(logits, (Scaling.by(0.5), Scaling.by(4.0)), OneLabel("abcde"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain_uncertainty(logits / scales), rtol=0, atol=1e-5)


def test_what_is_calibrated_on_one_backend_is_refused_on_another(exits, saved, corpus, make_engine):
    engine = make_engine(saved, backend=Backend.HUGGING_FACE)
    with pytest.raises(ArtifactError, match=r"backend \(hugging-face, calibrated for "):
        saved.predict(corpus, policy=exits.policy(target_speedup=1.2), engine=engine)


def test_exit_0_leaves_where_the_calibration_says_it_does(lexical_fastbert, corpus):
    teacher_logits = teacher_logits_of(lexical_fastbert, corpus)
    exits = calibrate(lexical_fastbert, corpus, teacher_logits, execution=FP32)
    assert list(exits.exits) == [0, 1, 2, 3, 4]
    assert exits.logits.shape == (130, 5, 3)
    policy = exits.policy(target_speedup=1.8)
    thresholds = (policy.lexical_threshold, *policy.thresholds)
    assert policy.lexical_threshold > 0
    swept = lexical_fastbert.predict(corpus, policy=policy)
    assert swept.exit_layer.tolist() == exits.flops_outcomes.exits_taken(thresholds).tolist()
    assert {0, 4} <= set(swept.exit_layer.tolist())
