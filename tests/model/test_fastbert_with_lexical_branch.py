"""A checkpoint with an exit before the first layer: saved, loaded, and refused where it does not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoints.fingerprint import checkpoint_hash
from model.errors import CheckpointError
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from tests.random_lexical_branch import add_lexical_branch


@pytest.fixture(scope="module")
def lexical_checkpoint(lexical_fastbert, tmp_path_factory):
    directory = tmp_path_factory.mktemp("lexical") / "fastbert"
    lexical_fastbert.save_pretrained(directory)
    return directory


@pytest.fixture
def copied(lexical_checkpoint, tmp_path):
    """A copy of the checkpoint, to be damaged."""
    return Path(shutil.copytree(lexical_checkpoint, tmp_path / "copy"))


def changed_config(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


EXIT_0 = ExitPolicy.from_exit_layer(0, num_layers=4)


@pytest.mark.parametrize("num_labels", [2, 3])
def test_a_lexical_branch_is_saved_and_loaded(make_fastbert, texts, tmp_path, num_labels):
    model = add_lexical_branch(make_fastbert("bert", num_labels=num_labels), texts)
    model.save_pretrained(tmp_path / "saved")
    loaded = FastBertForSequenceClassification.from_pretrained(tmp_path / "saved")
    expected, found = model.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    answers, again = (each.predict(texts, policy=EXIT_0) for each in (model, loaded))
    np.testing.assert_array_equal(answers.logits, again.logits)
    np.testing.assert_array_equal(loaded.predict(texts).logits, model.predict(texts).logits)
    assert loaded.model_hash == checkpoint_hash(tmp_path / "saved")


def test_another_lexical_branch_is_another_model(make_fastbert, texts):
    model = add_lexical_branch(make_fastbert("bert"), texts)
    before = model.model_hash
    with torch.no_grad():
        model.lexical_branch.embedding.weight[0] += 1
    assert model.model_hash != before


def test_a_lexical_branch_of_other_tokens_is_refused(copied):
    path = copied / "tokenizer.json"
    vocab = json.loads(path.read_text())
    words = vocab["model"]["vocab"]
    one, two = list(words)[-2:]
    words[one], words[two] = words[two], words[one]
    path.write_text(json.dumps(vocab))
    with pytest.raises(CheckpointError, match="lexical branch was trained with another tokenizer"):
        FastBertForSequenceClassification.from_pretrained(copied)


def test_a_lexical_branch_of_labels_in_another_order_is_refused(copied):
    labels = ["label 1", "label 0", "label 2"]
    changed_config(
        copied,
        id2label={str(place): label for place, label in enumerate(labels)},
        label2id={label: place for place, label in enumerate(labels)},
    )
    with pytest.raises(CheckpointError, match="with other labels or another order of them"):
        FastBertForSequenceClassification.from_pretrained(copied)


@pytest.mark.parametrize(
    "changes",
    [{"lexical_ngrams": 7}, {"lexical_slot_bits": 9}, {"lexical_slot_bits": 70}, {"lexical_ngrams": -1}],
)
def test_a_lexical_branch_of_another_size_is_refused(copied, changes):
    changed_config(copied, **changes)
    with pytest.raises(CheckpointError, match=r"copy' is incomplete|config\.json is damaged"):
        FastBertForSequenceClassification.from_pretrained(copied)


def test_a_damaged_table_is_refused(copied):
    path = copied / "model.safetensors"
    tensors = load_file(path)
    tensors["lexical_branch.slots"][0] ^= 1
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="is damaged: its lexical branch knows"):
        FastBertForSequenceClassification.from_pretrained(copied)


def test_a_model_in_memory_refuses_another_tokenizer_too(make_fastbert, texts, tokenizer_of):
    model = add_lexical_branch(make_fastbert("bert"), texts)
    with pytest.raises(CheckpointError, match="another tokenizer"):
        model.tokenizer = tokenizer_of("roberta")
    model.set_lexical_branch(None)
    model.tokenizer = tokenizer_of("roberta")
