"""What DeBERTa adds: distances, the convolution of the largest, settings that no network is made of."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from model.errors import CheckpointError
from model.network.backbones.registry import adapter_for

TINY = {
    "vocab_size": 9,
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "relative_attention": True,
}


@pytest.mark.parametrize(
    "settings",
    [
        {"relative_attention": False, "pos_att_type": None, "position_biased_input": True},
        {"relative_attention": True, "pos_att_type": []},
        {"pos_att_type": ["p2c"], "share_att_key": False},
        {"position_buckets": -1, "max_relative_positions": 5},
        {"position_buckets": 40, "norm_rel_ebd": "none"},
        {"conv_kernel_size": 5, "conv_groups": 2},
        {"pooler_hidden_act": "tanh"},
    ],
    ids=str,
)
def test_every_setting_of_the_family_is_run_as_hugging_face_does(
    make_fastbert, make_engine, backend, texts, hugging_face_logits, settings
):
    model = make_fastbert("deberta-v2", **settings)
    expected = hugging_face_logits(model.backbone, model.tokenizer, texts)
    found = model.predict(texts, engine=make_engine(model, backend=backend)).logits
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_text_longer_than_the_distances_that_are_told_apart_is_run(
    make_fastbert, make_engine, backend, hugging_face_logits
):
    model = make_fastbert("deberta-v2")
    model.config.max_length = 300
    long = ["the quick fox " * 90, "over the fence " * 40]
    expected = hugging_face_logits(model.backbone, model.tokenizer, long, max_length=300)
    result = model.predict(long, engine=make_engine(model, backend=backend))
    assert result.num_tokens.max() > 200
    np.testing.assert_allclose(result.logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pos_att_type": ["c2p", "p2p"]}, "'pos_att_type' has 'p2p', and only c2p and p2c are run"),
        ({"attention_head_size": 3}, "'attention_head_size' 3 times the heads is not 'hidden_size'"),
        ({"pooler_hidden_size": 6}, "'pooler_hidden_size' 6 is not 'hidden_size'"),
        ({"conv_kernel_size": 2}, "'conv_kernel_size' 2 is even"),
        ({"conv_kernel_size": 3, "conv_act": "wavy"}, "'conv_act' 'wavy' is no activation"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_no_layer_runs_are_refused(settings, message):
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(
            AutoConfig.for_model("deberta-v2", **TINY, **settings)
        )
    with pytest.raises(CheckpointError, match=f"cannot exit early: {message}"):
        adapter_for(model)
