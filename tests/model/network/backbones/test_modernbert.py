"""What ModernBERT adds: windows, rotations, two ways to read the last states."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from model.cost.network_flops import fastbert_flops
from model.engine.execution import Backend
from model.errors import CheckpointError
from model.network.backbones.registry import adapter_for
from tests.model.cost.torch_flops import counted

TINY = {
    "vocab_size": 9,
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "pad_token_id": 0,
    **dict.fromkeys(["bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"]),
}


@pytest.mark.parametrize(
    "settings",
    [
        {"layer_types": ["full_attention"] * 4},
        {"layer_types": ["sliding_attention"] * 4, "classifier_pooling": "mean"},
        {"local_attention": 2, "classifier_activation": "relu"},
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 70.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 30.0},
            }
        },
    ],
    ids=str,
)
def test_every_setting_of_the_family_is_run_as_hugging_face_does(
    make_fastbert, make_engine, backend, texts, hugging_face_logits, settings
):
    model = make_fastbert("modernbert", **settings)
    expected = hugging_face_logits(model.backbone, model.tokenizer, texts)
    engine = make_engine(model, backend=backend)
    assert engine.execution.backend is backend
    np.testing.assert_allclose(model.predict(texts, engine=engine).logits, expected, rtol=0, atol=1e-5)


def test_texts_longer_than_a_window_reaches_are_run(make_fastbert, make_engine, backend, hugging_face_logits):
    model = make_fastbert("modernbert", local_attention=128)
    model.config.max_length = 300
    long = ["the quick fox " * 90, "over the fence " * 40, "a dog"]
    expected = hugging_face_logits(model.backbone, model.tokenizer, long, max_length=300)
    result = model.predict(long, engine=make_engine(model, backend=backend))
    assert result.num_tokens.max() > 200
    np.testing.assert_allclose(result.logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("words", [10, 70, 90, 250])
def test_local_layers_cost_what_they_are_run_for(make_fastbert, make_engine, words):
    model = make_fastbert("modernbert", local_attention=32)
    model.config.max_length = 300
    engine, text = make_engine(model, backend=Backend.TORCH), "fox " * words
    result = model.predict([text], engine=engine)
    assert result.num_tokens.tolist() == [words + 2]
    flops = fastbert_flops(model.config)
    assert flops.attention_reaches == (None, 16, 16, None)
    expected = counted(lambda: model.predict([text], engine=engine))
    assert flops.full_depth(result.num_tokens).tolist() == [expected]
    seen_whole = replace(flops, attention_reaches=()).full_depth(result.num_tokens)[0]
    assert (seen_whole > expected) == (words > 64)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_mean_and_the_first_token_are_read_of_padded_texts(make_fastbert, texts, pooling):
    model = make_fastbert("modernbert", classifier_pooling=pooling)
    inputs = model.tokenizer(list(texts), truncation=True, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model.backbone(**inputs).logits.numpy()
    np.testing.assert_allclose(model.predict(texts).logits, expected, rtol=0, atol=1e-5)


def test_rotations_are_exact_in_half_precision(make_fastbert, make_engine):
    model = make_fastbert("modernbert")
    rotations = [
        engine.adapter.base.rotary_emb(torch.empty(1), torch.arange(500)[None], "sliding_attention")[0]
        for engine in (make_engine(model), make_engine(model, precision="bf16"))
    ]
    assert torch.equal(*rotations)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer_types": ["full_attention", "chunked_attention"]}, "'layer_types' has 'chunked_attention'"),
        (
            {
                "rope_parameters": {
                    "full_attention": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 70.0},
                }
            },
            "positions of 'rope_type' 'dynamic' depend on the other texts",
        ),
    ],
    ids=["attention", "positions"],
)
def test_what_is_not_the_same_alone_and_in_a_batch_is_refused(make_classifier, settings, message):
    model = make_classifier("modernbert")
    for name, value in settings.items():
        setattr(model.config, name, value)
    with pytest.raises(CheckpointError, match=f"cannot exit early: {message}"):
        adapter_for(model)


def test_a_decoder_is_refused():
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(
            AutoConfig.for_model("modernbert", **TINY, is_decoder=True)
        )
    with pytest.raises(CheckpointError, match="is a decoder"):
        adapter_for(model)
