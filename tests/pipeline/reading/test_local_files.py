import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from pipeline.contract.storage import is_local
from pipeline.reading.local_files import match_glob, names_in, regular_file

NAMES = ["a.tsv", "a\\b.tsv", "b[1].tsv", ".c.tsv", "s/a.tsv", "s/t/a\\b.tsv", "u/a.csv"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.tsv", NAMES[:4]),
        ("?.tsv", ["a.tsv"]),
        ("[ab]*.tsv", NAMES[:3]),
        ("a\\*", ["a\\b.tsv"]),
        ("s*/*.tsv", ["s/a.tsv"]),
        ("*/*", ["s/a.tsv", "u/a.csv"]),
        ("**.tsv", NAMES[:6]),
        ("**/*.tsv", NAMES[4:6]),
        ("s/**", NAMES[4:6]),
        ("**", NAMES),
        ("nothing/*", []),
        ("a.tsv/*", []),
        ("*/", []),
    ],
)
def test_globs_are_those_of_beam_wherever_they_begin(folder: Path, pattern: str, expected: list[str]):
    for start in ["", "./", f"{folder}/", "../" + folder.name + "/"]:
        assert match_glob(start + pattern) == sorted(start + name for name in expected)


def test_links_to_directories_are_followed_but_not_without_end(folder: Path):
    (folder / "link").symlink_to("s")
    (folder / "s" / "up").symlink_to("..")
    assert match_glob("link/*.tsv") == match_glob("l*/*.tsv") == ["link/a.tsv"]
    assert match_glob("**.tsv") == sorted(NAMES[:6])


def test_a_link_to_nothing_matches(folder: Path):
    (folder / "u" / "b.csv").symlink_to("nothing")
    assert match_glob("u/*.csv") == ["u/a.csv", "u/b.csv"]
    with pytest.raises(InputError, match=r"^u/b.csv: cannot be read: No such file or directory$"):
        regular_file("u/b.csv")


def test_a_directory_that_cannot_be_listed_is_named_where_files_may_match(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def scandir(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"^s/: cannot be read: Permission denied$"):
        match_glob("s/*.tsv")


def test_names_of_directories_end_in_a_slash(folder: Path):
    (folder / "v").symlink_to("u")
    assert names_in(".") == [*sorted(NAMES[:4]), "s/", "u/", "v/"]
    assert names_in("a.tsv") == names_in("nothing") == []


def test_what_is_no_regular_file_is_refused_and_not_opened(folder: Path):
    os.mkfifo("pipe.tsv")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.tsv")
        for path in ["pipe.tsv", "socket.tsv", "/dev/zero", "u"]:
            with pytest.raises(
                InputError, match=f"^{path}: is no regular file: write what it holds into one$"
            ):
                regular_file(path)


@given(st.text(min_size=1))
def test_a_scheme_tells_other_file_systems(name: str):
    assert not is_local(f"store://{name}")
    assert is_local(f"/store/{name}")
