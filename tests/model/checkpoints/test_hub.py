from fnmatch import fnmatch

import pytest
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError

from model.checkpoints import hub
from model.checkpoints.hub import HUB_OPTIONS, resolve_checkpoint
from model.errors import CheckpointError, ParameterError

WANTED = (
    "config.json",
    "model.safetensors",
    "model-00001-of-00002.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "calibration.json",
    "calibration.parquet",
    "seen_texts.parquet",
    "teacher_texts.parquet",
)
UNWANTED = (
    "pytorch_model.bin",
    "pytorch_model-00001-of-00002.bin",
    "optimizer.pt",
    "training_args.bin",
    "data.pkl",
    "README.md",
    "trainer_state.json",
    "tf_model.h5",
    "onnx/model.onnx",
)


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "a/b/c", "../nowhere"])
def test_a_path_that_is_not_there_is_not_asked_of_the_hub(name, monkeypatch):
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: 1 / 0)
    with pytest.raises(CheckpointError, match="there is no model directory"):
        resolve_checkpoint(name)


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "model.bin").touch()
    with pytest.raises(CheckpointError, match="there is no model directory"):
        resolve_checkpoint(str(tmp_path / "model.bin"))


def test_a_hub_name_is_fetched_without_pickles(tmp_path, monkeypatch):
    asked = {}

    def download(name, *, allow_patterns):
        asked[name] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert resolve_checkpoint("org/name") == tmp_path
    patterns = asked["org/name"]

    def is_fetched(file):
        return any(fnmatch(file, pattern) for pattern in patterns)

    assert all(map(is_fetched, WANTED))
    assert not any(map(is_fetched, UNWANTED))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"revision": "v2"},
        {"revision": "v2", "token": "secret", "cache_dir": "there", "local_files_only": True},
        {"token": False},
    ],
)
def test_what_the_hub_is_asked_for_is_what_was_given(options, tmp_path, monkeypatch):
    asked = []

    def download(name, *, allow_patterns, **given):
        asked.append((name, given))
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert resolve_checkpoint("org/name", **options) == tmp_path
    assert asked == [("org/name", options)]
    assert options.keys() <= set(HUB_OPTIONS)


def test_a_directory_has_no_revision(checkpoints, monkeypatch):
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: 1 / 0)
    directory = checkpoints["backbone"]
    with pytest.raises(ParameterError, match=r"`revision` is for names on the hub, and '.*' is a directory"):
        resolve_checkpoint(str(directory), revision="v2")
    for options in ({"revision": None}, {"token": "secret", "cache_dir": "there", "local_files_only": True}):
        assert resolve_checkpoint(str(directory), **options) == directory


def test_a_directory_without_a_configuration_is_none_of_a_model(tmp_path):
    with pytest.raises(CheckpointError, match=r"is no model directory: it has no config\.json"):
        resolve_checkpoint(str(tmp_path))


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("offline\nmore"), OSError(), HTTPError("proxy")])
def test_a_hub_that_does_not_answer_is_one_line(error, monkeypatch):
    def download(*_, **__):
        raise error

    monkeypatch.setattr(hub, "snapshot_download", download)
    with pytest.raises(CheckpointError, match="hub did not provide it") as caught:
        resolve_checkpoint("org/name")
    assert "\n" not in str(caught.value)
