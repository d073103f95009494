import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from pipeline.reading.file_versions import checksum, unchanged, version
from tests.pipeline.contract.score_jobs import store

__all__ = ["store"]

STORED = "teststore://bucket/a.parquet"


@given(st.binary(max_size=20), st.integers(0, 2**17), st.integers(0, 7))
def test_one_bit_anywhere_makes_another_checksum(content: bytes, position: int, bit: int):
    content = bytes(2**16) + content + bytes(2**16)
    edited = bytearray(content)
    edited[position % len(content)] ^= 1 << bit
    with tempfile.NamedTemporaryFile() as file:
        found = []
        for each in [content, edited, content]:
            Path(file.name).write_bytes(each)
            found.append(checksum(file.name))
    assert found[0] == found[2] != found[1]
    assert found[0] == hashlib.sha256(content).hexdigest()


def test_a_store_tells_the_checksum_of_its_files(store: dict[str, bytes]):
    store[STORED] = b"one"
    before = checksum(STORED)
    assert version(STORED) == before
    store[STORED] = b"two"
    assert checksum(STORED) != before


def test_what_is_not_there_is_named(tmp_path: Path):
    for ask in (checksum, version):
        with pytest.raises(InputError, match=r"a.csv: cannot be read: No such file"):
            ask(f"{tmp_path}/a.csv")


CHANGED = r"a.csv: changed since the job was planned"


def written(path: Path, time: int) -> str:
    """Write a file, the clock showing `time`, and return its version."""
    path.write_bytes(b"one")
    os.utime(path, ns=(time, time))
    return version(str(path))


def test_a_file_that_is_written_to_as_it_is_read_has_changed(tmp_path: Path):
    path = tmp_path / "a.csv"
    planned = written(path, 1)
    with unchanged(str(path), planned):
        pass
    with pytest.raises(InputError, match=CHANGED), unchanged(str(path), planned):
        written(path, 2)
    with pytest.raises(InputError, match=CHANGED), unchanged(str(path), planned):
        raise AssertionError
    with unchanged(str(path), None):
        written(path, 3)


@pytest.mark.parametrize(("time", "message"), [(1, "b.csv: cannot be read"), (2, CHANGED)])
def test_an_error_in_reading_is_its_own_unless_the_file_changed(tmp_path: Path, time: int, message: str):
    path = tmp_path / "a.csv"
    planned = written(path, 1)

    def read() -> None:
        with unchanged(str(path), planned):
            written(path, time)
            raise InputError("b.csv: cannot be read")

    with pytest.raises(InputError, match=message):
        read()
