from pathlib import Path

import pytest

from model.errors import OutputError
from pipeline.contract.result_files import check_holds_no_job, write_result


def test_a_file_is_written_whole_into_a_new_directory(tmp_path: Path):
    directory = tmp_path / "new [1]*"
    path = write_result(str(directory), "a.txt", lambda file: file.write(b"all of it"))
    assert path == str(directory / "a.txt")
    assert {each.name: each.read_bytes() for each in directory.iterdir()} == {"a.txt": b"all of it"}


def test_nothing_is_written_beside_the_shards_of_a_job(tmp_path: Path):
    check_holds_no_job(str(tmp_path / "new"))
    check_holds_no_job(str(tmp_path))
    (tmp_path / "_JOB.json").touch()
    with pytest.raises(OutputError, match=r"holds the shards of a job.*; choose another `output`"):
        check_holds_no_job(str(tmp_path))


def test_what_fails_leaves_what_was_there(tmp_path: Path):
    (tmp_path / "a.txt").write_text("before")

    def fail(file: object) -> None:
        raise OSError("no more room")

    with pytest.raises(OutputError, match="cannot be written: no more room; choose another `output`"):
        write_result(str(tmp_path), "a.txt", fail)
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"a.txt": "before"}
