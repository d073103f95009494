import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.exits.exit_logits import LayerStates, all_exit_logits
from model.exits.policy import ExitPolicy
from model.tokens.tokenization import tokenize
from tests.plain_early_exit import plain_exits


@pytest.fixture(scope="module")
def expected(fastbert, texts):
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
    engine.memory_budget.tokens = token_budget
    logits = all_exit_logits(engine, tokenized.take(rows))
    assert logits.shape == (len(rows), 4, 3)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected[rows], rtol=0, atol=2e-5)


def test_equals_what_the_sweep_answers(family, make_fastbert, make_engine, texts):
    model = make_fastbert(family)
    pairs = texts[::-1]
    tokenized = tokenize(model.tokenizer, texts, pairs, max_length=48)
    logits = all_exit_logits(make_engine(model, token_budget=90), tokenized)
    for layer in range(1, model.num_layers + 1):
        policy = ExitPolicy.from_exit_layer(layer, num_layers=model.num_layers)
        answered = model.predict(texts, pairs, policy=policy).logits
        np.testing.assert_allclose(logits[:, layer - 1], answered, rtol=0, atol=5e-5)


@given(
    rows=st.lists(st.integers(0, 17), min_size=1, max_size=12),
    bounds=st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted),
    token_budget=st.integers(1, 300),
)
def test_states_are_those_of_the_hugging_face_model_without_gradient(
    fastbert, engine, tokenized, rows, bounds, token_budget
):
    engine.memory_budget.tokens = token_budget
    some = tokenized.take(np.array(rows, dtype=np.int64))
    states = LayerStates(engine, some)
    part = slice(*bounds)
    if not rows[part]:
        return
    indices, attention_mask = states.batch_indices(part)
    assert (attention_mask is None) == (len(set(some.lengths[part])) == 1)
    for text, row in enumerate(rows[part]):
        ids = torch.from_numpy(tokenized.take(np.array([row])).input_ids)[None]
        with torch.no_grad():
            plain = fastbert.backbone(ids, output_hidden_states=True).hidden_states
        for layer in range(1, fastbert.num_layers):
            hidden = states.hidden_states(layer, indices)
            assert not hidden.requires_grad
            hidden = hidden[text] if attention_mask is None else hidden[text][attention_mask[text]]
            torch.testing.assert_close(hidden, plain[layer][0], rtol=0, atol=2e-5)
