import json
import os
from io import BytesIO
from pathlib import Path

import pytest
from apache_beam.io.filesystems import FileSystems
from hypothesis import given
from hypothesis import strategies as st

from model.errors import OutputError
from pipeline.contract import storage
from pipeline.contract.storage import (
    atomic_file,
    check_file_system,
    delete_directory,
    delete_files,
    has_files,
    list_names,
    make_directory,
    read_json,
    write_atomically,
    write_json,
)
from tests.job_fixtures import snapshot
from tests.pipeline.contract.score_jobs import store

__all__ = ["store"]

# Names that a glob would take for others, or a URL for something of its own.
NAMES = ["scores*", "scores?", "scores[1]", "[!a]", "**", "a b", "~", "%20", "\x1b[31m", "[bold]x[/bold]"]


def test_json_that_is_written_piece_by_piece_is_what_it_would_be_as_a_whole(tmp_path: Path):
    content = {"shards": [{"name": f"é{number}", "rows": number, "none": []} for number in range(20_000)]}
    write_json(str(tmp_path / "a"), content)
    whole = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert (tmp_path / "a").read_text(encoding="utf-8") == whole


def test_making_a_directory_twice_is_fine(tmp_path: Path):
    make_directory(str(tmp_path / "a" / "b"))
    make_directory(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_directory(str(tmp_path / "file" / "b"))


def test_equal_json_is_equal_bytes_and_comes_back(tmp_path: Path):
    one, two = str(tmp_path / "1.json"), str(tmp_path / "2.json")
    write_json(one, {"b": ["é\u2028", 0.1], "a": {"y": None, "x": 1}})
    write_json(two, {"a": {"x": 1, "y": None}, "b": ["é\u2028", 0.1]})
    assert Path(one).read_bytes() == Path(two).read_bytes()
    assert read_json(one) == {"a": {"x": 1, "y": None}, "b": ["é\u2028", 0.1]}


def test_json_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "1.json"
    write_json(str(path), {"a": 1})
    with pytest.raises(TypeError):
        write_json(str(path), {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    write_json(str(path), {"a": 2})
    assert read_json(str(path)) == {"a": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["1.json"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_taken_literally(tmp_path: Path, name: str):
    neighbours = ("scores", "scores1", "scores-2024", "a", "b")
    for each in (*neighbours, name):
        make_directory(str(tmp_path / each))
        (tmp_path / each / "part").write_text("mine")
    directory = str(tmp_path / name)
    job = str(tmp_path / name / "_JOB.json")
    write_json(job, {"a": 1})
    assert list_names(directory) == ["_JOB.json", "part"]
    assert list_names(directory, "_*") == ["_JOB.json"]
    assert has_files(directory, but="part")
    delete_files([job])
    assert not has_files(directory, but="part")
    delete_directory(directory)
    assert snapshot(tmp_path) == {f"{each}/part": b"mine" for each in neighbours}


@given(name=st.text(st.sampled_from("ab*?[]!-"), min_size=1, max_size=6))
def test_deleting_deletes_what_is_called_so_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, name: str
):
    home = tmp_path_factory.mktemp("home")
    others = {each for each in ("a", "b", "ab", "aa", "-", "b-a") if each != name}
    for each in (*others, name):
        (home / each).touch()
    delete_files([str(home / name)])
    assert {path.name for path in home.iterdir()} == others


def test_a_file_that_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with atomic_file(str(path), str(tmp_path / "partial")) as file:
            file.write(b"half")
            raise KeyError("oh")

    with pytest.raises(KeyError, match="oh"):
        fail()
    assert snapshot(tmp_path) == {"file": b"old"}


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[tuple[str, bool]] = []
    sync = os.fsync

    def spy(descriptor: int) -> None:
        sync(descriptor)
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), (tmp_path / "file").exists()))

    monkeypatch.setattr(storage.os, "fsync", spy)
    write_atomically(str(tmp_path / "file"), lambda file: file.write(b"all"))
    assert synced == [(f"{tmp_path}/file.partial", False), (str(tmp_path), True)]


def test_a_file_on_an_object_store_is_whole_or_not_there(store: dict[str, bytes]):
    write_atomically("teststore://bucket/a", lambda file: file.write(b"all"))

    def fail(_: object) -> None:
        raise KeyError("oh")

    with pytest.raises(KeyError, match="oh"):
        write_atomically("teststore://bucket/b", fail)
    assert store == {"teststore://bucket/a": b"all"}


@pytest.mark.parametrize("name", ["out*", "o?t", "out[1]"])
def test_elsewhere_a_name_that_stands_for_others_is_refused(name: str):
    check_file_system("teststore://bucket/out")
    with pytest.raises(OutputError, match="stand for other names there; give another"):
        check_file_system(f"teststore://bucket/{name}")


@pytest.mark.parametrize(("scheme", "deletes"), [("hdfs", ["hdfs://h/a/1.json"]), ("teststore", [])])
def test_where_no_name_can_be_taken_over_it_is_freed_first(
    monkeypatch: pytest.MonkeyPatch, scheme: str, deletes: list[str]
):
    done: list[tuple[str, object]] = []
    monkeypatch.setattr(FileSystems, "create", lambda path, **_: BytesIO())
    monkeypatch.setattr(FileSystems, "exists", lambda path: True)
    monkeypatch.setattr(FileSystems, "delete", lambda paths: done.append(("delete", paths)))
    monkeypatch.setattr(FileSystems, "rename", lambda old, new: done.append(("rename", (old, new))))
    path = f"{scheme}://h/a/1.json"
    write_atomically(path, lambda file: file.write(b"1"))
    assert done == [*(("delete", [each]) for each in deletes), ("rename", ([f"{path}.partial"], [path]))]
