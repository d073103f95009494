import json
import pickle
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import DebertaV2Config
from transformers.utils import logging

from model.answers.task import Task
from model.checkpoints.loading import label_names, load_config, load_tokenizer, silence_transformers, task_of
from model.errors import CheckpointError
from tests.model.checkpoints.changed_checkpoints import (
    backbone_only,
    both,
    change_config,
    fastbert_only,
    load,
)
from tests.model.tokens.sentencepiece_model import sentencepiece_model


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
def test_several_labels_at_once_are_another_task(directory):
    change_config(directory, problem_type="multi_label_classification")
    assert task_of(load(directory).config, "mine") is Task.LABEL_SET


@backbone_only
def test_the_ordinary_problem_may_be_named(directory):
    change_config(directory, problem_type="single_label_classification")
    assert load(directory).config.num_labels == 3


@backbone_only
def test_sound_pickled_weights_are_loaded(directory):
    expected = load(directory).state_dict()
    torch.save(expected, directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    assert all(torch.equal(value, expected[name]) for name, value in load(directory).state_dict().items())


@both
def test_nothing_is_pickled(directory):
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:
        assert not zipfile.is_zipfile(path)  # as torch.save writes
        assert path.read_bytes()[:1] != pickle.PROTO


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
