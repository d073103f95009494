import json

import pytest
import torch

from model.checkpoints.loading import load_classifier, load_for_finetuning, load_tokenizer
from model.errors import CheckpointError
from model.fastbert import FastBertForSequenceClassification
from model.network.config import load_fastbert_config
from tests.model.checkpoints.changed_checkpoints import (
    FASTBERT,
    backbone_only,
    both,
    change_config,
    change_tensors,
    fastbert_only,
    load,
)


def every_load(directory):
    """Yield the ways to load a copy of its kind."""
    if directory.name == FASTBERT:
        yield lambda: FastBertForSequenceClassification.from_pretrained(directory)
        yield lambda: load_fastbert_config(directory)
    else:
        yield lambda: load_classifier(directory)
        yield lambda: load_for_finetuning(directory, ("a", "b"), seed=0)
    yield lambda: load_tokenizer(directory)


def change_network(directory, **changes):
    """Change what config.json says of the backbone."""
    config = json.loads((directory / "config.json").read_text())
    if directory.name == FASTBERT:
        changes = {"backbone_config": config["backbone_config"] | changes}
    change_config(directory, **changes)


@both
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"num_hidden_layers": 0}, "'num_hidden_layers' is 0, not 1 or more"),
        ({"num_hidden_layers": "x"}, "'num_hidden_layers' is 'x', not 1 or more"),
        ({"num_hidden_layers": 10**9}, "it says 1,000,000,000 layers, but the weights are of 4"),
        ({"num_attention_heads": 0}, "'num_attention_heads' is 0, not 1 or more"),
        ({"id2label": ["a", "b", "c"]}, "'id2label' does not give a label to each number"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised weights"),
        ({"attn_implementation": "flash_attention_2"}, "'attn_implementation' is 'flash_attention_2'"),
        ({"_attn_implementation": "org/kernel"}, "'_attn_implementation' is 'org/kernel'"),
        ({"dtype": "no such"}, "no such"),
        ({"layer_norm_eps": "x"}, "'layer_norm_eps' expected float, got str"),
    ],
    ids=str,
)
def test_a_hostile_config_is_one_line_at_every_load(directory, changes, told):
    change_network(directory, **changes)
    for load_it in every_load(directory):
        with pytest.raises(CheckpointError, match=r"has no usable config\.json: ") as caught:
            load_it()
        assert str(directory) in str(caught.value)
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)


@both
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_brackets_without_end_are_one_line(directory, name):
    (directory / name).write_text('{"model_type": "bert", "x": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(CheckpointError, match=r"has no usable .*recursion"):
        load(directory)


@both
def test_a_padding_token_that_is_none_of_the_vocabulary(directory):
    change_network(directory, pad_token_id=10**9)
    with pytest.raises(CheckpointError, match="cannot be loaded: Padding_idx must be within num_embeddings"):
        load(directory)


@both
def test_labels_that_are_not_numbered_in_order(directory):
    change_config(directory, id2label={"0": "a", "2": "b", "5": "c"})
    with pytest.raises(CheckpointError, match="does not number its labels from 0 on"):
        load(directory)


@backbone_only
def test_a_label_that_is_no_text(directory):
    names = {"0": "yes", "1": "no\ud800", "2": "maybe"}
    change_config(directory, id2label=names, label2id={name: int(place) for place, name in names.items()})
    with pytest.raises(CheckpointError, match=r"has a label .* that is no text, .*: 'no\\ud800'"):
        load(directory)


@fastbert_only
@pytest.mark.parametrize("backbone", [None, "org/name", ["bert"], {}])
def test_a_backbone_that_is_none(directory, backbone):
    change_config(directory, backbone_config=backbone)
    with pytest.raises(CheckpointError, match=r"no usable config\.json"):
        load(directory)


@fastbert_only
def test_no_other_model_is_asked_of_the_hub(directory, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.get_session", lambda: 1 / 0)
    change_config(directory, backbone="org/name", backbone_config=None)
    with pytest.raises(CheckpointError, match="'backbone' names another model"):
        load(directory)


@both
def test_a_tokenizer_with_ids_that_the_network_does_not_embed(directory, tokenizer):
    def cut(tensors):
        for name in [name for name in tensors if name.endswith("word_embeddings.weight")]:
            tensors[name] = tensors[name][:60].clone()

    change_tensors(directory, cut)
    change_network(directory, vocab_size=60)
    told = f"ids up to {len(tokenizer) - 1}, but the network embeds 60 tokens"
    for load_it in (load, load_tokenizer):
        with pytest.raises(CheckpointError, match=told):
            load_it(directory)


@both
def test_a_tokenizer_without_a_length(directory):
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": "x"}))
    with pytest.raises(CheckpointError, match="'model_max_length' that is no number"):
        load(directory)


@fastbert_only
@pytest.mark.parametrize("max_length", [-5, 0, 3, 51, 10**9])
def test_a_fastbert_of_a_length_that_its_network_does_not_take(directory, max_length):
    change_config(directory, max_length=max_length)
    with pytest.raises(
        CheckpointError, match=rf"'max_length' {max_length} .* not between 4 and 50"
    ) as caught:
        load(directory)
    assert str(directory) in str(caught.value)


class Command:
    """What runs a command where it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@both
@pytest.mark.parametrize("kind", ["a command", "garbage", "empty"])
def test_pickled_weights_that_are_none(directory, kind, tmp_path):
    (directory / "model.safetensors").unlink()
    path, trace = directory / "pytorch_model.bin", tmp_path / "was run"
    if kind == "a command":
        torch.save({"weight": Command(trace)}, path)
    else:
        path.write_bytes(b"garbage" * 99 if kind == "garbage" else b"")
    with pytest.raises(CheckpointError, match="cannot be loaded from its pickled weights: ") as caught:
        load(directory)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value), "transformers advises to turn the check off"
    assert not trace.exists()
