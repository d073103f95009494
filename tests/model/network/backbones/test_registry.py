import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification

from model.errors import CheckpointError
from model.network.backbones.registry import SUPPORTED_FAMILIES, adapter_for

TINY = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}


def test_every_supported_family_is_tried(families):
    assert {name.split(",")[0] for name in families} == set(SUPPORTED_FAMILIES)


def test_an_unsupported_family_is_refused_with_the_supported_ones():
    config = AutoConfig.for_model("gpt2", n_embd=8, n_layer=2, n_head=2, vocab_size=9)
    with pytest.raises(CheckpointError, match="gpt2") as caught:
        adapter_for(AutoModelForSequenceClassification.from_config(config))
    for family in SUPPORTED_FAMILIES:
        assert family in str(caught.value)


def test_a_decoder_is_refused():
    config = AutoConfig.for_model("bert", is_decoder=True, vocab_size=9, **TINY)
    with pytest.raises(CheckpointError, match="decoder"):
        adapter_for(AutoModelForSequenceClassification.from_config(config))


def test_a_fastbert_is_no_backbone(fastbert):
    with pytest.raises(CheckpointError, match="FastBERT already"):
        adapter_for(fastbert)
