"""What XLNet adds: distances, segments in every layer, special tokens and padding on the other side."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from model.errors import CheckpointError
from model.network.backbones.registry import adapter_for
from model.tokens.max_length import choose_max_length, position_limit
from tests.plain_early_exit import plain_exits

EXACT = {"rtol": 0, "atol": 1e-5}
TYPED, UNTYPED = "xlnet, token types", "xlnet"
TINY = {"vocab_size": 9, "n_layer": 2, "d_model": 8, "n_head": 2, "d_inner": 8}


@pytest.fixture(scope="module", params=[TYPED, UNTYPED])
def model(request, make_fastbert):
    return make_fastbert(request.param)


@pytest.mark.parametrize(
    "settings",
    [
        {"clamp_len": 3, "same_length": True},
        {"mem_len": None, "reuse_len": 4},
        {"mem_len": 2, "use_mems_train": True},
        {"use_mems_eval": False, "ff_activation": "silu"},
        {"summary_use_proj": False, "summary_activation": "relu"},
        {"summary_first_dropout": 0.4, "dropout": 0.3},
    ],
    ids=str,
)
def test_every_setting_of_the_family_is_run_as_hugging_face_does(
    make_fastbert, texts, hugging_face_logits, settings
):
    model = make_fastbert("xlnet", **settings)
    expected = hugging_face_logits(model.backbone, model.tokenizer, texts)
    np.testing.assert_allclose(model.predict(texts).logits, expected, **EXACT)


@torch.no_grad()
def test_texts_that_hugging_face_pads_on_the_left_have_the_same_answers(model, texts):
    assert model.tokenizer.padding_side == "left"
    for pairs in (None, texts[::-1]):
        inputs = model.tokenizer(
            list(texts), pairs, truncation=True, max_length=48, padding=True, return_tensors="pt"
        )
        assert not inputs["attention_mask"][:, 0].all()
        expected = model.backbone(**inputs).logits.numpy()
        np.testing.assert_allclose(model.predict(texts, pairs).logits, expected, **EXACT)


def test_texts_that_leave_take_their_token_types_along(make_fastbert, make_engine, texts):
    model = make_fastbert(TYPED)
    pairs = texts[::-1]
    exits = np.stack([plain_exits(model, *both) for both in zip(texts, pairs, strict=True)])
    result = model.predict(texts, pairs, speed=0.6, engine=make_engine(model, token_budget=60))
    assert len(set(result.exit_layer)) > 2
    taken = exits[np.arange(len(texts)), result.exit_layer - 1]
    np.testing.assert_allclose(result.logits, taken, rtol=1e-5, atol=5e-5)
    model.tokenizer.model_input_names = ["input_ids", "attention_mask"]
    untyped = model.predict(texts, pairs, speed=0.6).logits
    assert np.abs(untyped - result.logits).max() > 0.05, "else a mistake might not show"


def test_a_long_text_is_run_and_cut_by_default(make_fastbert, hugging_face_logits):
    model = make_fastbert("xlnet")
    model.tokenizer.model_max_length = 10**30
    assert choose_max_length(None, position_limit(model.backbone, model.tokenizer)) == 512
    model.config.max_length = 300
    long = ["the quick fox " * 90, "over the fence " * 20]
    expected = hugging_face_logits(model.backbone, model.tokenizer, long, max_length=300)
    result = model.predict(long)
    assert result.num_tokens.max() == 300
    assert result.truncated.tolist() == [True, False]
    np.testing.assert_allclose(result.logits, expected, **EXACT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attn_type": "uni"}, "'attn_type' is 'uni', and only 'bi' is run"),
        ({"bi_data": True}, "'bi_data' reads one half of a batch backwards"),
        ({"summary_type": "first"}, "'summary_type' is 'first', and only the 'last' token classifies"),
        ({"summary_type": "mean"}, "'summary_type' is 'mean'"),
        ({"summary_proj_to_labels": True}, "'summary_proj_to_labels' makes labels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_cannot_be_run_a_layer_at_a_time_are_refused(settings, message):
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(
            AutoConfig.for_model("xlnet", **TINY, **settings)
        )
    with pytest.raises(CheckpointError, match=f"cannot exit early: {message}"):
        adapter_for(model)
