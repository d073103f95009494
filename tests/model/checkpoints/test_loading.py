import json
import pickle
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, BertModel, DebertaV2Config
from transformers.utils import logging

from model.answers.task import Task
from model.checkpoints.hub import resolve_checkpoint
from model.checkpoints.loading import (
    label_names,
    load_classifier,
    load_config,
    load_for_finetuning,
    load_tokenizer,
    silence_transformers,
    task_of,
)
from model.errors import CheckpointError
from model.fastbert import FastBertForSequenceClassification
from model.messages import first_line
from model.network.config import load_fastbert_config
from tests.model.tokens.sentencepiece_model import sentencepiece_model

FASTBERT, BACKBONE = "fastbert", "backbone"


both = pytest.mark.parametrize("directory", [FASTBERT, BACKBONE], indirect=True)
fastbert_only = pytest.mark.parametrize("directory", [FASTBERT], indirect=True)
backbone_only = pytest.mark.parametrize("directory", [BACKBONE], indirect=True)


def load(directory):
    """Load a copy as its kind is loaded by the jobs."""
    if directory.name == FASTBERT:
        return FastBertForSequenceClassification.from_pretrained(directory)
    path = resolve_checkpoint(str(directory))
    classifier = load_classifier(path)
    load_tokenizer(path)
    return classifier


def change_tensors(directory, change):
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def change_config(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# -- refused ------------------------------------------------------------------------------------------


@both
def test_an_undamaged_copy_is_loaded_in_eval_mode_and_float32(directory):
    model = load(directory)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@backbone_only
@pytest.mark.parametrize("size", [1, 7, 10**9, None])
def test_a_network_that_works_in_chunks_takes_texts_of_any_length(directory, size):
    ids = torch.arange(1, 6)[None]
    with torch.inference_mode():
        expected = load(directory)(input_ids=ids).logits
        change_config(directory, chunk_size_feed_forward=size)
        assert torch.equal(load(directory)(input_ids=ids).logits, expected)


@fastbert_only
@pytest.mark.parametrize("size", [7, None])
def test_so_does_the_one_in_a_fastbert(directory, size):
    before = load(directory).predict(["a b c"]).logits
    backbone = json.loads((directory / "config.json").read_text())["backbone_config"]
    change_config(directory, backbone_config=backbone | {"chunk_size_feed_forward": size})
    assert (load(directory).predict(["a b c"]).logits == before).all()


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


def test_a_vocabulary_of_sentencepiece_is_read_as_sentencepiece_reads_it(tmp_path):
    # Of what SentencePiece normalises, transformers leaves some as it is.
    texts = ["", "the brown fox", "The  fox's café!", "日本語 🙂"]
    made = sentencepiece_model(texts)
    DebertaV2Config(vocab_size=256).save_pretrained(tmp_path)
    (tmp_path / "spm.model").write_bytes(made.model)
    tokenizer = load_tokenizer(tmp_path)
    found = [tokenizer(text).input_ids for text in texts]
    assert found == [[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id] for ids in made.ids]


@backbone_only
def test_a_tokenizer_that_cannot_pad(directory):
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"tokenizer_class": "TokenizersBackend", "pad_token": None}))
    with pytest.raises(CheckpointError, match="no padding token"):
        load(directory)


@backbone_only
def test_several_labels_at_once_are_another_task(directory):
    change_config(directory, problem_type="multi_label_classification")
    assert task_of(load(directory).config, "mine") is Task.LABEL_SET


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
def test_the_ordinary_problem_may_be_named(directory):
    change_config(directory, problem_type="single_label_classification")
    assert load(directory).config.num_labels == 3


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


# -- hostile ------------------------------------------------------------------------------------------


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


@backbone_only
def test_sound_pickled_weights_are_loaded(directory):
    expected = load(directory).state_dict()
    torch.save(expected, directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    assert all(torch.equal(value, expected[name]) for name, value in load(directory).state_dict().items())


# -- to be fine-tuned ---------------------------------------------------------------------------------


@backbone_only
def test_a_head_for_other_labels_is_made_and_the_encoder_kept(directory):
    before = load_classifier(directory).bert.state_dict()
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    one, same, other = (load_for_finetuning(directory, ("a", "b"), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert label_names(one.config) == ("a", "b")
    assert one.config.problem_type == "single_label_classification"
    assert one.classifier.weight.shape == (2, 32)
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert all(torch.equal(value, before[name]) for name, value in one.bert.state_dict().items())


@backbone_only
def test_a_pooler_may_be_missing_of_what_is_fine_tuned(directory):
    def drop(tensors):
        for name in [name for name in tensors if "pooler" in name or "classifier" in name]:
            del tensors[name]

    change_tensors(directory, drop)
    assert load_for_finetuning(directory, ("a", "b"), seed=0).num_labels == 2


@backbone_only
@pytest.mark.parametrize("name", ["bert.encoder.layer.1.intermediate.dense.weight", "bert.pooler.dense.bias"])
def test_an_encoder_of_another_shape_is_not_made_up(directory, name):
    change_tensors(directory, lambda tensors: tensors.update({name: torch.cat([tensors[name]] * 2)}))
    with pytest.raises(CheckpointError, match=f"is incomplete: 1 tensors mismatched, '{name}' among them"):
        load_for_finetuning(directory, ("a", "b"), seed=0)


@backbone_only
def test_an_encoder_without_a_tensor_is_not_made_up(directory):
    name = "bert.embeddings.word_embeddings.weight"
    change_tensors(directory, lambda tensors: tensors.pop(name))
    with pytest.raises(CheckpointError, match=f"is incomplete: 1 tensors missing, '{name}' among them"):
        load_for_finetuning(directory, ("a", "b"), seed=0)


@backbone_only
@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_a_truncated_encoder_is_not_made_up(directory, kept):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="cannot be loaded: ") as caught:
        load_for_finetuning(directory, ("a", "b"), seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "line"), [(OSError(), "OSError"), (OSError(" \n"), "OSError"), (ValueError("\na\nb"), "a")]
)
def test_the_first_line_of_an_error(error, line):
    assert first_line(error) == line


# -- written ----------------------------------------------------------------------------------------


@both
def test_nothing_is_pickled(directory):
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:
        assert not zipfile.is_zipfile(path)  # as torch.save writes
        assert path.read_bytes()[:1] != pickle.PROTO


# -- read ---------------------------------------------------------------------------------------------


@backbone_only
def test_labels_stand_in_the_order_of_the_logits(directory):
    change_config(directory, id2label={"2": "c", "0": "a", "1": "b"}, label2id={"a": 0, "b": 1, "c": 2})
    assert label_names(load_config(directory)) == ("a", "b", "c")


@both
def test_transformers_says_nothing_meanwhile_and_what_it_said_before_after(directory, capfd):
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(directory)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_transformers_is_quiet_no_longer_than_it_is_asked_to_be():
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with silence_transformers():
        assert logging.get_verbosity() == logging.ERROR
        assert not logging.is_progress_bar_enabled()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    with pytest.raises(CheckpointError), silence_transformers():
        raise CheckpointError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_threads_that_load_at_once_leave_transformers_as_it_was():
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()

    def load_many(_):
        for _ in range(200):
            with silence_transformers():
                pass

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(load_many, range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
