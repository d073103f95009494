import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.all_exits import all_exit_logits, layer_states
from model.packing import micro_batches
from model.policy import ExitPolicy
from model.tokenization import tokenize


@pytest.fixture(scope="module")
def expected(fastbert, texts, plain_exits):
    return np.stack([plain_exits(fastbert, text) for text in texts])


@pytest.fixture(scope="module")
def engine(make_engine, fastbert):
    """One whose micro-batches the tests may change."""
    return make_engine(fastbert)


@pytest.fixture(scope="module")
def tokenized(fastbert, texts):
    return tokenize(fastbert.tokenizer, texts, max_length=48)


@given(rows=st.lists(st.integers(0, 17), max_size=20), token_budget=st.integers(1, 300))
def test_equals_every_exit_of_each_text_alone(engine, tokenized, expected, rows, token_budget):
    rows = np.array(rows, dtype=np.int64)
    engine.token_budget = token_budget
    logits = all_exit_logits(engine, tokenized.take(rows))
    assert logits.shape == (len(rows), 4, 3)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected[rows], rtol=0, atol=1e-5)


def test_equals_what_the_sweep_answers(family, make_fastbert, make_engine, texts):
    model = make_fastbert(family)
    pairs = texts[::-1]
    tokenized = tokenize(model.tokenizer, texts, pairs, max_length=48)
    logits = all_exit_logits(make_engine(model, token_budget=90), tokenized)
    for layer in range(1, model.num_layers + 1):
        policy = ExitPolicy.from_exit_layer(layer, num_layers=model.num_layers)
        answered = model.predict(texts, pairs, policy=policy).logits
        np.testing.assert_allclose(logits[:, layer - 1], answered, rtol=0, atol=2e-5)


def test_states_are_those_of_the_hugging_face_model_without_gradient(fastbert, engine, tokenized):
    ordered = tokenized.take(np.argsort(-tokenized.lengths, kind="stable"))
    (batch,) = micro_batches(ordered.lengths, 10_000)
    padding = batch.padding(torch.device("cpu"))
    ids = batch.pad(torch.from_numpy(ordered.input_ids))
    with torch.no_grad():
        output = fastbert.backbone(ids, attention_mask=padding, output_hidden_states=True)
    states = list(layer_states(engine, ordered, batch))
    assert len(states) == fastbert.num_layers - 1
    for hidden, plain in zip(states, output.hidden_states[1:-1], strict=True):
        assert not hidden.requires_grad
        torch.testing.assert_close(hidden, plain[padding], rtol=0, atol=1e-5)


def test_layers_are_run_as_they_are_asked_for(engine, tokenized, monkeypatch):
    batch = next(micro_batches(tokenized.take(np.array([1])).lengths, 100))
    states = layer_states(engine, tokenized.take(np.array([1])), batch)
    next(states)
    monkeypatch.setattr(engine, "run_layer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(states)
