import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, BertModel

from model.checkpoints.loading import load_classifier
from model.errors import CheckpointError
from model.fastbert import FastBertForSequenceClassification
from tests.model.checkpoints.changed_checkpoints import (
    backbone_only,
    both,
    change_config,
    change_tensors,
    fastbert_only,
    load,
)


@both
def test_a_directory_without_config(directory):
    (directory / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no model directory: it has no config\.json"):
        load(directory)


@both
@pytest.mark.parametrize("content", ["", "{", "not JSON", "[]", "{}", '{"model_type": "no such family"}'])
def test_a_config_that_is_none(directory, content):
    (directory / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"no usable config\.json"):
        load(directory)


@both
def test_missing_tensors_are_counted_and_named(directory):
    def drop(tensors):
        for name in [name for name in tensors if name.endswith("encoder.layer.2.output.dense.bias")]:
            del tensors[name]

    change_tensors(directory, drop)
    with pytest.raises(
        CheckpointError, match=r"incomplete: 1 tensors missing, .*layer\.2\.output\.dense\.bias"
    ):
        load(directory)


@both
def test_tensors_of_another_shape(directory):
    def widen(tensors):
        for name in [name for name in tensors if name.endswith("encoder.layer.1.intermediate.dense.weight")]:
            tensors[name] = torch.cat([tensors[name], tensors[name]])

    change_tensors(directory, widen)
    with pytest.raises(CheckpointError):
        load(directory)


@fastbert_only
def test_foreign_tensors_in_a_fastbert(directory):
    change_tensors(directory, lambda tensors: tensors.update({"branches.3.dense.bias": torch.zeros(128)}))
    with pytest.raises(CheckpointError, match=r"1 tensors that its config\.json does not name"):
        load(directory)


@fastbert_only
def test_a_branch_that_is_not_there(directory):
    def drop(tensors):
        for name in [name for name in tensors if name.startswith("branches.1.")]:
            del tensors[name]

    change_tensors(directory, drop)
    with pytest.raises(CheckpointError, match=r"7 tensors missing, 'branches\.1\."):
        load(directory)


@fastbert_only
def test_a_config_of_more_layers_than_there_are_weights(directory):
    config = json.loads((directory / "config.json").read_text())["backbone_config"]
    change_config(directory, backbone_config=config | {"num_hidden_layers": 5})
    with pytest.raises(CheckpointError, match="it says 5 layers, but the weights are of 4"):
        load(directory)


@both
@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_a_truncated_weights_file(directory, kept):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(directory)


@both
def test_no_weights_file(directory):
    (directory / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(directory)


@both
def test_no_tokenizer_files(directory):
    (directory / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer files \(one of tokenizer\.json, vocab\.txt"):
        load(directory)


@both
def test_a_tokenizer_that_cannot_be_read(directory):
    (directory / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="no usable tokenizer"):
        load(directory)


@backbone_only
def test_a_tokenizer_that_cannot_pad(directory):
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"tokenizer_class": "TokenizersBackend", "pad_token": None}))
    with pytest.raises(CheckpointError, match="no padding token"):
        load(directory)


@backbone_only
@pytest.mark.parametrize(
    ("kind", "told"),
    [("regression", "has 3 scores; a regression of one"), ("ordinal", "is for ordinal; known are")],
)
def test_what_logits_mean_has_to_be_known(directory, kind, told):
    change_config(directory, problem_type=kind)
    with pytest.raises(CheckpointError, match=told):
        load(directory)


@backbone_only
def test_two_labels_of_one_name(directory):
    change_config(directory, id2label={"0": "good", "1": "bad", "2": "good"})
    with pytest.raises(CheckpointError, match="two labels alike"):
        load(directory)


def test_an_encoder_that_was_never_fine_tuned(make_classifier, tokenizer, tmp_path):
    make_classifier("bert").bert.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert isinstance(BertModel.from_pretrained(tmp_path), BertModel)
    with pytest.raises(CheckpointError, match=r"'classifier\.bias' among them.*fine-tuned"):
        load_classifier(tmp_path)


def test_an_unsupported_family_is_named_with_the_supported_ones(tokenizer, tmp_path):
    tiny = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    config = AutoConfig.for_model("roformer", vocab_size=len(tokenizer), num_labels=3, **tiny)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    classifier = load_classifier(tmp_path)  # it may label, as a teacher of its own
    with pytest.raises(CheckpointError, match=r"roformer.*albert, bert, .*xlm-roberta"):
        FastBertForSequenceClassification.from_backbone(classifier, tokenizer, max_length=9)


@backbone_only
def test_a_decoder(directory, tokenizer):
    change_config(directory, is_decoder=True)
    with pytest.raises(CheckpointError, match="decoder"):
        FastBertForSequenceClassification.from_backbone(load_classifier(directory), tokenizer, max_length=9)


@backbone_only
def test_a_plain_bert_where_a_fastbert_is_wanted(directory):
    with pytest.raises(CheckpointError, match=r"a bert checkpoint, not a FastBERT.*fastbert-jobs distill"):
        FastBertForSequenceClassification.from_pretrained(directory)


@fastbert_only
def test_a_fastbert_where_a_backbone_is_wanted(directory, tokenizer):
    with pytest.raises(CheckpointError, match="FastBERT already"):
        FastBertForSequenceClassification.from_backbone(load_classifier(directory), tokenizer, max_length=9)


@both
def test_no_refusal_ends_in_a_half_loaded_model_of_a_later_call(directory):
    path = directory / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError):
        load(directory)
    path.write_bytes(whole)
    load(directory)
