"""Exit 0 in front of the layers, against a plain early exit: one text alone, stop at the first sure exit."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.answers.scaling import Scaling
from model.engine.engine import Engine
from model.errors import ParameterError
from model.exits.exit_logits import all_exit_logits
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.tokens.ngrams import hash_ngrams
from model.tokens.tokenization import tokenize
from tests.plain_early_exit import plain_exits, plain_uncertainty

NUM_LAYERS = 4
NUM_ROWS = 36
ROWS = st.lists(st.integers(0, NUM_ROWS - 1), max_size=40)
THRESHOLD = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0, 2.0])
POLICY = st.builds(
    ExitPolicy,
    thresholds=st.tuples(*[THRESHOLD] * (NUM_LAYERS - 1)),
    lexical_threshold=THRESHOLD,
    lexical_scaling=st.sampled_from([0.7, 1.0, 2.0]).map(Scaling.by),
    length_exponent=st.sampled_from([0.0, 0.5, 1.0]),
    name=st.just("drawn"),
)


@dataclass
class Pool:
    """Texts and pairs of texts, and what each exit answers to each of them alone."""

    texts: list[str]
    pairs: list[str]
    exits: np.ndarray  # (rows, exits, num_labels)
    num_tokens: np.ndarray  # (rows,)

    def uncertainty(self, policy):
        """(rows, exits), by the policy's scalings."""
        scales = np.array([policy.scaling(each).temperature for each in range(NUM_LAYERS)] + [1.0])
        return plain_uncertainty(self.exits / scales[:, None])


def plain_lexical_logits(model, text, pair):
    """What the lexical branch answers to one text, n-gram after n-gram."""
    branch = model.lexical_branch
    tokens = tokenize(model.tokenizer, [text], [pair], max_length=model.config.max_length)
    ngrams = hash_ngrams(tokens, sep_token_id=model.tokenizer.sep_token_id)
    total, number = torch.zeros(branch.embedding.embedding_dim), 0
    for ngram, order in zip(ngrams.hashes, ngrams.orders.tolist(), strict=True):
        found, _ = branch.table.find(np.array([ngram]))
        for place in found.tolist():
            total += branch.embedding.weight[place] / 2 ** (order - 1)
            number += 1
    return branch.classifier(branch.hidden(total / max(number, 1) ** 0.5)).detach().numpy()


@pytest.fixture(scope="module")
def pool(lexical_fastbert, texts):
    first, second = [*texts, *texts], [*[""] * len(texts), *texts[::-1]]
    rows = list(zip(first, second, strict=True))
    lexical = np.stack([plain_lexical_logits(lexical_fastbert, *row) for row in rows])
    layers = np.stack([plain_exits(lexical_fastbert, *row) for row in rows])
    return Pool(
        texts=first,
        pairs=second,
        exits=np.concatenate([lexical[:, None], layers], axis=1),
        num_tokens=tokenize(lexical_fastbert.tokenizer, first, second, max_length=48).lengths,
    )


def tokenized(model, pool, rows):
    texts, pairs = [pool.texts[row] for row in rows], [pool.pairs[row] for row in rows]
    return tokenize(model.tokenizer, texts, pairs, max_length=model.config.max_length)


@pytest.fixture(scope="module")
def engine(lexical_fastbert, make_engine):
    return make_engine(lexical_fastbert)


@pytest.fixture(scope="module")
def predict(lexical_fastbert, engine, pool):
    def run(rows, policy, *, chunk_tokens=1 << 16, full_depth_mask=None):
        engine.chunk_tokens = chunk_tokens
        texts = tokenized(lexical_fastbert, pool, rows)
        return predict_tokenized(engine, texts, policy, full_depth_mask=full_depth_mask)

    return run


@settings(max_examples=200)
@given(rows=ROWS, policy=POLICY, chunk_tokens=st.integers(1, 800), data=st.data())
def test_equals_the_plain_early_exit(predict, pool, rows, policy, chunk_tokens, data):
    uncertainty = pool.uncertainty(policy)
    thresholds = np.array([policy.threshold(each) for each in range(NUM_LAYERS)])
    held_against = uncertainty[:, :-1] / pool.num_tokens[:, None] ** policy.length_exponent
    # No rounding error of a sum in another order may change a decision; at 0 nothing leaves, however sure.
    assume((np.abs(held_against[rows] - thresholds)[:, thresholds > 0] > 1e-4).all())
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    result = predict(rows, policy, chunk_tokens=chunk_tokens, full_depth_mask=mask)
    sure = np.concatenate([held_against < thresholds, np.ones((NUM_ROWS, 1), dtype=bool)], axis=1)
    exits = sure.argmax(axis=1)[rows]
    assert result.exit_layer.tolist() == exits.tolist()
    np.testing.assert_allclose(result.logits, pool.exits[rows, exits], rtol=0, atol=2e-5)
    np.testing.assert_allclose(result.uncertainty, uncertainty[rows, exits], rtol=0, atol=2e-5)
    first = np.append(thresholds > 0, True).argmax()
    np.testing.assert_allclose(result.first_uncertainty, uncertainty[rows, first], rtol=0, atol=2e-5)
    full = np.where((mask | (exits == NUM_LAYERS))[:, None], pool.exits[rows, -1], np.nan)
    np.testing.assert_allclose(result.full_depth_logits, full, rtol=0, atol=2e-5)
    run_layers = np.where(mask, NUM_LAYERS, exits)
    assert result.num_real_tokens == (run_layers * result.num_tokens).sum()


def test_every_exit_is_told_of(lexical_fastbert, engine, pool):
    texts = tokenized(lexical_fastbert, pool, range(NUM_ROWS))
    np.testing.assert_allclose(all_exit_logits(engine, texts), pool.exits, rtol=0, atol=2e-5)


def test_at_exit_0_nothing_of_the_network_is_run(predict, pool, monkeypatch):
    def fail(*_):
        raise AssertionError

    for step in ("embed", "run_layer", "run_last_layer"):
        monkeypatch.setattr(Engine, step, fail)
    result = predict(range(NUM_ROWS), ExitPolicy.from_exit_layer(0, num_layers=NUM_LAYERS))
    assert set(result.exit_layer.tolist()) == {0}
    np.testing.assert_allclose(result.logits, pool.exits[:, 0], rtol=0, atol=2e-5)
    assert (result.num_real_tokens, result.num_processed_tokens) == (0, 0)


@pytest.mark.parametrize("policy", [ExitPolicy.from_speed(0.6, num_layers=4), *(
    ExitPolicy.from_exit_layer(layer, num_layers=4) for layer in (1, 4)
)], ids=lambda policy: policy.name)  # fmt: skip
def test_the_papers_policies_do_without_it(predict, fastbert, pool, policy, monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(Engine, "lexical_logits", fail)
    result = predict(range(NUM_ROWS), policy)
    expected = fastbert.predict(pool.texts, pool.pairs, policy=policy)
    assert result.exit_layer.tolist() == expected.exit_layer.tolist()
    np.testing.assert_allclose(result.logits, expected.logits, rtol=0, atol=2e-5)


def test_a_policy_of_an_exit_that_the_model_has_not_is_refused(fastbert, texts):
    with pytest.raises(ParameterError, match=r"`policy` lets texts leave at exit 0, .* this model has none"):
        fastbert.predict(texts, policy=ExitPolicy.from_exit_layer(0, num_layers=NUM_LAYERS))
