import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.engine.execution import Precision, are_finite, resolve_execution
from model.exits.policy import ExitPolicy
from model.exits.teacher import Teacher, padded_inputs, teacher_logits
from model.tokens.tokenization import tokenize


@pytest.fixture(scope="module")
def tokenized(fastbert, texts):
    return tokenize(fastbert.tokenizer, texts, texts[::-1], max_length=48)


@pytest.fixture(scope="module")
def expected(fastbert, texts, hugging_face_logits):
    return hugging_face_logits(fastbert.backbone, fastbert.tokenizer, texts, texts[::-1])


@given(rows=st.lists(st.integers(0, 17), max_size=25), token_budget=st.integers(1, 400))
def test_equals_the_hugging_face_model_on_each_text_alone(fastbert, tokenized, expected, rows, token_budget):
    rows = np.array(rows, dtype=np.int64)
    logits = teacher_logits(
        fastbert.backbone, fastbert.tokenizer, tokenized.take(rows), token_budget=token_budget
    )
    assert logits.shape == (len(rows), 3)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected[rows], rtol=0, atol=1e-5)


def test_every_familys_teacher_is_its_fastbert_at_full_depth(family, make_fastbert, texts):
    model = make_fastbert(family)
    tokenized = tokenize(model.tokenizer, texts, texts[::-1], max_length=48)
    logits = teacher_logits(model.backbone, model.tokenizer, tokenized, token_budget=200)
    policy = ExitPolicy.from_speed(0, num_layers=model.num_layers)
    answered = model.predict(texts, texts[::-1], policy=policy).logits
    np.testing.assert_allclose(logits, answered, rtol=0, atol=1e-5)


def test_a_fastbert_may_be_the_teacher_itself(fastbert, tokenized, expected):
    logits = teacher_logits(fastbert, fastbert.tokenizer, tokenized, token_budget=200)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


def test_dropout_is_refused(make_classifier, tokenizer, tokenized):
    model = make_classifier("bert")
    model.train()
    with pytest.raises(AssertionError, match="without dropout"):
        teacher_logits(model, tokenizer, tokenized, token_budget=200)


def test_batches_stay_within_the_budget(make_classifier, tokenizer, tokenized):
    model = make_classifier("bert")
    sizes = []
    model.register_forward_pre_hook(
        lambda _, __, inputs: sizes.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    teacher_logits(model, tokenizer, tokenized, token_budget=100)
    assert max(sizes) <= 100
    assert len(sizes) < len(tokenized)
    assert sum(sizes) >= tokenized.lengths.sum()


def test_inputs_are_padded_as_the_tokenizer_pads(tokenizer_of, texts):
    tokenizer = tokenizer_of("bert")
    own = tokenizer(
        list(texts), texts[::-1], truncation=True, max_length=20, padding=True, return_tensors="pt"
    )
    inputs = padded_inputs(
        tokenizer, tokenize(tokenizer, texts, texts[::-1], max_length=20), torch.device("cpu")
    )
    assert inputs.keys() == own.keys()
    for name, values in own.items():
        assert torch.equal(inputs[name], values), name


def test_inputs_of_a_tokenizer_that_pads_on_the_left(tokenizer_of):
    tokenizer = tokenizer_of("distilbert")
    tokenizer.padding_side = "left"
    inputs = padded_inputs(
        tokenizer, tokenize(tokenizer, ["fox", "the fox"], max_length=9), torch.device("cpu")
    )
    assert inputs["attention_mask"].tolist() == [[0, 1, 1, 1], [1, 1, 1, 1]]
    assert inputs["input_ids"][0, 0] == tokenizer.pad_token_id
    assert "token_type_ids" not in inputs


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
@pytest.mark.parametrize("is_supported", [True, False])
def test_a_teacher_is_a_copy_of_a_model_that_stays_as_it_is(
    make_classifier, tokenizer, tokenized, precision, is_supported, snapshot_of, monkeypatch
):
    if not is_supported:
        monkeypatch.setattr("model.exits.teacher.SUPPORTED_FAMILIES", ())
    execution = resolve_execution(precision, device="cpu")
    model = make_classifier("bert")
    expected = Teacher.of(model, tokenizer, execution).logits(tokenized)
    before = snapshot_of(model.train())
    teacher = Teacher.of(model, tokenizer, execution)
    assert (teacher.engine is not None) == is_supported
    assert teacher.model.dtype is execution.dtype
    np.testing.assert_array_equal(teacher.logits(tokenized), expected)
    assert snapshot_of(model) == before


def test_an_answer_that_is_no_number_is_left_to_the_caller(
    make_classifier, tokenizer, texts: tuple[str, ...]
):
    model = make_classifier("bert")
    with torch.no_grad():
        model.classifier.bias[0] = torch.nan
    tokenized = tokenize(tokenizer, texts, max_length=16)
    assert not are_finite(teacher_logits(model, tokenizer, tokenized, token_budget=64)).any()
