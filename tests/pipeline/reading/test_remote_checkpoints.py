import os
import shutil
import threading
from pathlib import Path

import pytest

from model.checkpoints.fingerprint import checkpoint_hash
from model.errors import CheckpointError
from pipeline.reading import remote_checkpoints
from pipeline.reading.remote_checkpoints import CACHE_VARIABLE, find_checkpoint, find_on_worker
from tests.job_fixtures import snapshot
from tests.pipeline.contract.score_jobs import Store, store

__all__ = ["store"]

URL = "teststore://bucket/models/mine"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where copies go."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def uploaded(store: dict[str, bytes], fastbert: Path) -> str:
    """URL of a FastBERT, beside which lies what is no part of one."""
    for path in fastbert.iterdir():
        store[f"{URL}/{path.name}"] = path.read_bytes()
    store[f"{URL}/notes.txt"] = b"mine"
    store[f"{URL}/old/config.json"] = b"{}"
    store["teststore://bucket/models/mine-2/config.json"] = b"{}"
    return URL


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read from the store."""
    names: list[str] = []
    read = Store.open

    def spy(self: Store, path: str, *args: object, **kwargs: object) -> object:
        names.append(path.rpartition("/")[2])
        return read(self, path, *args, **kwargs)

    monkeypatch.setattr(Store, "open", spy)
    return names


def copies(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def test_a_checkpoint_is_copied_once(uploaded: str, fastbert: Path, cache: Path, opened: list[str]):
    directory = find_checkpoint(uploaded)
    assert checkpoint_hash(directory) == checkpoint_hash(fastbert)
    assert snapshot(directory) == snapshot(fastbert)
    assert sorted(opened) == sorted(path.name for path in fastbert.iterdir())
    opened.clear()
    assert find_checkpoint(uploaded) == directory
    assert find_checkpoint(uploaded + "/") == directory
    assert opened == []
    assert copies(cache) == [directory]


def test_other_files_at_the_same_place_are_another_copy(uploaded: str, store: dict[str, bytes], cache: Path):
    first = find_checkpoint(uploaded)
    before = snapshot(first)
    store[f"{URL}/config.json"] += b"\n"
    second = find_checkpoint(uploaded)
    assert second != first
    assert (second / "config.json").read_bytes() == store[f"{URL}/config.json"]
    assert snapshot(first) == before
    assert sorted(copies(cache)) == sorted([first, second])


def test_a_copy_that_lost_something_is_made_again(uploaded: str, fastbert: Path):
    directory = find_checkpoint(uploaded)
    (directory / "config.json").unlink()
    (directory / "model.safetensors").write_bytes(b"half")
    assert snapshot(find_checkpoint(uploaded)) == snapshot(fastbert)


def test_what_a_killed_process_left_is_no_copy(uploaded: str, fastbert: Path, cache: Path):
    directory = find_checkpoint(uploaded)
    directory.rename(directory.with_suffix(".partial"))
    (directory.with_suffix(".partial") / "stray").touch()
    assert snapshot(find_checkpoint(uploaded)) == snapshot(fastbert)
    assert copies(cache) == [directory]


def test_a_file_that_changes_under_the_copying_ends_it(
    uploaded: str, store: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = remote_checkpoints._copy

    def slow(file: remote_checkpoints._StoredFile, target: Path) -> None:
        store[f"{URL}/model.safetensors"] = bytes(len(store[f"{URL}/model.safetensors"]))
        copy(file, target)

    monkeypatch.setattr(remote_checkpoints, "_copy", slow)
    with pytest.raises(CheckpointError, match=r"cannot be copied: .*model\.safetensors changed while it was"):
        find_checkpoint(uploaded)
    assert [path.suffix for path in copies(cache)] == [".partial"]


def test_several_at_once_copy_once(uploaded: str, opened: list[str], fastbert: Path):
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(find_checkpoint(uploaded))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(opened) == len(list(fastbert.iterdir()))


def test_pickled_weights_are_read_where_there_are_no_others(uploaded: str, store: dict[str, bytes]):
    store[f"{URL}/pytorch_model.bin"] = b"pickle"
    assert "pytorch_model.bin" not in snapshot(find_checkpoint(uploaded))
    del store[f"{URL}/model.safetensors"]
    assert "pytorch_model.bin" in snapshot(find_checkpoint(uploaded))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("teststore://bucket/none", "'teststore://bucket/none' is no model directory: it has no config.json"),
        ("teststore://bucket/mod*", r"'teststore://bucket/mod\*' cannot be used: \*, \? and \[ stand for"),
        ("nobody://bucket/x", "'nobody://bucket/x' cannot be used: "),
    ],
)
def test_where_there_is_none_it_is_one_line(uploaded: str, url: str, message: str, cache: Path):
    with pytest.raises(CheckpointError, match=f"^{message}"):
        find_checkpoint(url)
    assert not cache.exists()


def test_a_store_that_does_not_answer_is_one_line(uploaded: str, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Store, "open", fail)
    with pytest.raises(CheckpointError) as error:
        find_checkpoint(uploaded)
    assert str(error.value) == f"the checkpoint {URL!r} cannot be copied: [Errno 13] Permission denied"


def test_copies_lie_in_the_users_cache(uploaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert find_checkpoint(uploaded).parent == tmp_path / "xdg" / "fastbert-jobs"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert find_checkpoint(uploaded).parent == tmp_path / "home" / ".cache" / "fastbert-jobs"


def test_a_directory_is_taken_where_it_is(fastbert: Path, cache: Path):
    assert find_checkpoint(str(fastbert)) == fastbert
    assert not cache.exists()


def test_a_worker_takes_what_its_driver_has_and_else_looks_by_name(uploaded: str, fastbert: Path):
    assert find_on_worker(str(fastbert), uploaded) == fastbert
    directory = find_checkpoint(uploaded)
    shutil.rmtree(directory)
    assert find_on_worker(str(directory), uploaded) == directory
    with pytest.raises(CheckpointError, match=r"^a worker cannot find '/no/such': there is no model dir"):
        find_on_worker(os.fspath(fastbert / "gone"), "/no/such")
    with pytest.raises(CheckpointError, match=r"^a worker has no model directory 'my/model'; give one that"):
        find_on_worker("my/model", "my/model")
