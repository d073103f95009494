"""The oracle for every family: at speed 0 a FastBERT is the Hugging Face model that it was made from."""

import numpy as np
import pytest
import torch

from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from model.tokens.tokenization import tokenize
from tests.plain_early_exit import plain_exits, plain_uncertainty

EXACT = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(scope="module")
def model(family, make_fastbert):
    return make_fastbert(family)


@pytest.fixture(scope="module")
def alone(model, texts, hugging_face_logits):
    return hugging_face_logits(model.backbone, model.tokenizer, texts)


def test_speed_0_gives_the_logits_of_the_hugging_face_model(model, texts, alone):
    result = model.predict(texts)
    np.testing.assert_allclose(result.logits, alone, **EXACT)
    assert result.exit_layer.tolist() == [model.num_layers] * len(texts)
    assert np.ptp(alone, axis=0).min() > 0.05  # else a mistake might not show


def test_speed_0_gives_the_logits_for_pairs(model, texts, hugging_face_logits):
    pairs = texts[::-1]
    expected = hugging_face_logits(model.backbone, model.tokenizer, texts, pairs)
    np.testing.assert_allclose(model.predict(texts, pairs).logits, expected, **EXACT)


def test_token_types_reach_the_families_that_know_them(family, model, texts):
    token_types = tokenize(model.tokenizer, texts, texts, max_length=48).token_type_ids
    # XLNet knows them, but its tokenizer tells none unless it is made to.
    assert (token_types is not None) == (model.adapter.has_token_types and family != "xlnet")


@pytest.mark.parametrize(
    ("token_budget", "chunk_tokens"), [(1, 1 << 16), (60, 1 << 16), (200, 30), (1000, 1)]
)
def test_backends_micro_batches_and_chunks_change_nothing(
    model, texts, alone, make_engine, backend, token_budget, chunk_tokens
):
    engine = make_engine(model, backend=backend, token_budget=token_budget, chunk_bytes=chunk_tokens * 32 * 4)
    policy = ExitPolicy.from_speed(0.0, num_layers=model.num_layers)
    tokenized = tokenize(model.tokenizer, texts, max_length=model.config.max_length)
    np.testing.assert_allclose(predict_tokenized(engine, tokenized, policy).logits, alone, **EXACT)


def test_a_text_alone_has_the_logits_that_it_has_in_a_batch(model, texts, alone):
    for text, expected in zip(texts[:6], alone, strict=False):
        np.testing.assert_allclose(model.predict([text]).logits[0], expected, **EXACT)


def test_a_padding_token_in_the_text_is_a_token(model, texts, hugging_face_logits):
    pad = model.tokenizer.pad_token
    odd = [f"the {pad} fox", f"{pad} {pad}", f"fox {pad}", *texts[:4]]
    expected = hugging_face_logits(model.backbone, model.tokenizer, odd)
    np.testing.assert_allclose(model.predict(odd).logits, expected, **EXACT)


def test_early_exits_are_those_of_plain_code(model, texts, make_engine, backend):
    engine = make_engine(model, backend=backend)
    exits = np.stack([plain_exits(model, text) for text in texts])
    uncertainty = plain_uncertainty(exits)[:, :-1]
    for layer in range(1, model.num_layers):
        policy = ExitPolicy.from_exit_layer(layer, num_layers=model.num_layers)
        result = model.predict(texts, policy=policy, engine=engine)
        np.testing.assert_allclose(result.logits, exits[:, layer - 1], rtol=1e-5, atol=5e-5)
        np.testing.assert_allclose(result.uncertainty, uncertainty[:, layer - 1], rtol=0, atol=1e-4)


def test_a_saved_model_answers_the_same(model, texts, alone, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = FastBertForSequenceClassification.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.predict(texts).logits, model.predict(texts).logits)
    np.testing.assert_allclose(loaded.predict(texts).logits, alone, **EXACT)
    policy = ExitPolicy.from_exit_layer(2, num_layers=model.num_layers)
    np.testing.assert_array_equal(
        loaded.predict(texts, policy=policy).logits, model.predict(texts, policy=policy).logits
    )


def test_eager_attention_gives_the_same(family, make_fastbert, texts, hugging_face_logits):
    model = make_fastbert(family)
    model.backbone.set_attn_implementation("eager")
    expected = hugging_face_logits(model.backbone, model.tokenizer, texts)
    np.testing.assert_allclose(model.predict(texts).logits, expected, **EXACT)


def test_an_adapter_holds_no_weights_of_its_own(fastbert):
    before = fastbert.backbone.classifier.bias.clone()
    logits = fastbert.predict(["a"]).logits
    with torch.no_grad():
        fastbert.backbone.classifier.bias.add_(1)
    try:
        np.testing.assert_allclose(fastbert.predict(["a"]).logits, logits + 1, **EXACT)
    finally:
        with torch.no_grad():
            fastbert.backbone.classifier.bias.copy_(before)
