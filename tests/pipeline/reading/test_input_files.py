import gzip
import os
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems

from model.errors import InputError, ParameterError
from pipeline.reading.input_files import (
    InputFile,
    checksum,
    find_files,
    open_input,
    read_errors_as_input_error,
)


def names(*patterns: Path | str, format: str | None = None) -> list[str]:
    return [
        Path(file.path).name for file in find_files([str(pattern) for pattern in patterns], format=format)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in [
        "b.csv",
        "a.tsv",
        "c.jsonl.gz",
        "d.NDJSON",
        "e.parquet",
        "f.txt",
        "_MANIFEST.json",
        "_g.csv",
        ".h.csv",
    ]:
        (tmp_path / name).write_bytes(b"123")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "i.csv").touch()
    return tmp_path


def test_a_directory_stands_for_the_files_in_it_of_known_extensions(folder: Path):
    expected = ["a.tsv", "b.csv", "c.jsonl.gz", "d.NDJSON", "e.parquet"]
    assert names(folder) == expected
    assert names(f"{folder}/") == expected


def test_with_a_format_every_file_of_a_directory_counts(folder: Path):
    (folder / "e.parquet").unlink()
    assert "f.txt" in names(folder, format="csv")


def test_files_are_listed_once_and_sorted(folder: Path):
    assert names(folder / "b.csv", folder / "*.*sv", folder / "a.tsv") == [
        ".h.csv",
        "_g.csv",
        "a.tsv",
        "b.csv",
    ]


def test_a_file_is_what_the_file_system_says(folder: Path):
    assert find_files([f"{folder}/b.c?v"]) == [InputFile(path=f"{folder}/b.csv", format="csv", size=3)]


@pytest.mark.parametrize("name", ["a[1].csv", "a*.csv", "a?.csv", "[].csv", "a b.csv", "é\u2028.csv"])
def test_an_existing_path_is_no_glob(tmp_path: Path, name: str):
    for other in [name, "a1.csv", "ab.csv"]:
        (tmp_path / other).touch()
    assert names(tmp_path / name) == [name]


def test_a_directory_may_look_like_a_glob(tmp_path: Path):
    for name in ["x[1]", "x1"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.csv").touch()
    assert names(tmp_path / "x[1]") == ["x[1].csv"]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.parquet", "parquet"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.b.CSV", "csv"),
        ("a.tsv.gz", "tsv"),
        ("a.csv.GZ", "csv"),
    ],
)
def test_formats_go_by_extension(tmp_path: Path, name: str, format: str):
    (tmp_path / name).touch()
    assert [file.format for file in find_files([str(tmp_path / name)])] == [format]
    if not name.lower().endswith(".gz"):
        assert [file.format for file in find_files([str(tmp_path / name)], format="tsv")] == ["tsv"]


@pytest.mark.parametrize("name", ["a.txt", "a", "a.csv.zip", "a.json", "csv", "a.gz"])
def test_an_unknown_extension_is_an_error(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    with pytest.raises(InputError) as error:
        find_files([str(tmp_path / name)])
    assert str(error.value) == (
        f"{tmp_path}/{name}: unknown extension, neither .parquet, .jsonl, .ndjson, .csv, .tsv "
        "nor a text one with .gz: say `format`"
    )


def test_parquet_is_not_read_through_gzip(tmp_path: Path):
    (tmp_path / "a.parquet.gz").touch()
    with pytest.raises(InputError, match=r"a.parquet.gz: Parquet inside gzip cannot be read: decompress it"):
        find_files([str(tmp_path / "a.parquet.gz")])


def test_an_unknown_format_is_an_error():
    with pytest.raises(ParameterError, match=r"`format` xml: unknown, choose from parquet, jsonl, csv, tsv"):
        find_files(["a.xml"], format="xml")


@pytest.mark.parametrize("pattern", ["nothing.csv", "*.csv", "", "."])
def test_a_pattern_without_a_match_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        find_files([pattern])
    assert str(error.value) == f"no file matches {pattern!r}"


def test_an_unknown_file_system_is_an_error():
    with pytest.raises(
        InputError, match=r"^nowhere://a.csv: cannot be read: Unable to get filesystem[^\n]*$"
    ):
        find_files(["nowhere://a.csv"])


def test_an_object_store_has_no_directories_but_names_with_slashes(folder: Path):
    listed = {
        f"{folder}": [],
        f"{folder}/*": FileSystems.match([f"{folder}/*"])[0].metadata_list,
    }

    def match(patterns: list[str]) -> list[mock.Mock]:
        return [mock.Mock(metadata_list=listed[patterns[0]])]

    with (
        mock.patch.object(Path, "is_dir", return_value=False),
        mock.patch.object(FileSystems, "exists", return_value=False),
        mock.patch.object(FileSystems, "match", side_effect=match),
    ):
        assert names(folder) == ["a.tsv", "b.csv", "c.jsonl.gz", "d.NDJSON", "e.parquet"]


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied"),
        EOFError("Permission denied"),
        pa.ArrowInvalid("Permission\n denied"),
    ],
)
def test_whatever_goes_wrong_is_one_line_that_names_the_file(error: Exception):
    with (
        pytest.raises(InputError, match=r"^a.csv: cannot be read: Permission denied$"),
        read_errors_as_input_error("a.csv"),
    ):
        raise error


def test_an_error_that_names_its_file_stays_as_it_is():
    with pytest.raises(InputError, match=r"^b.csv: no$"), read_errors_as_input_error("a.csv"):
        raise InputError("b.csv: no")


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"cannot be read: Is a directory$"), open_input(str(tmp_path)):
        pass
    with (
        pytest.raises(InputError, match=r"a.csv: cannot be read: No such file"),
        open_input(f"{tmp_path}/a.csv"),
    ):
        pass


def test_gzip_members_are_read_as_one(tmp_path: Path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"ab") + gzip.compress(b"c"))
    with open_input(str(path)) as stream:
        assert stream.read() == b"abc"
        stream.seek(1)
        assert stream.read() == b"bc"


def checksum_of(path: Path, format: str) -> str:
    return checksum(InputFile(path=str(path), format=format, size=path.stat().st_size))


def test_the_checksum_of_a_text_file_covers_head_tail_and_size(tmp_path: Path):
    path = tmp_path / "a.csv"
    seen = set()
    long = b"a" * 1_000_000
    for content in [b"", b"a", b"b", b"ab", long, b"b" + long[1:], long[1:] + b"b", long + b"a"]:
        path.write_bytes(content)
        seen.add(checksum_of(path, "csv"))
    assert len(seen) == 8
    path.write_bytes(long)
    os.utime(path, (0, 0))
    assert checksum_of(path, "csv") in seen


def test_the_checksum_of_a_parquet_file_covers_its_footer(tmp_path: Path):
    path = tmp_path / "a.parquet"
    seen = set()
    for values in [[1, 2], [1, 3], [1, 2, 3]]:
        pq.write_table(pa.table({"a": values}), path)
        seen.add(checksum_of(path, "parquet"))
    assert len(seen) == 3
    path.write_bytes(b"")
    checksum_of(path, "parquet")


def test_a_file_under_two_spellings_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.tsv").write_text("text\nhello\n")
    monkeypatch.chdir(tmp_path)
    assert len(find_files(["a.tsv", "./a.tsv", str(tmp_path / "a.tsv")])) == 1


@pytest.mark.parametrize("pattern", ["", "*.csv", os.fsdecode(b"\xff.csv")])
def test_a_file_whose_name_is_no_text_is_refused(tmp_path: Path, pattern: str):
    (tmp_path / os.fsdecode(b"\xff.csv")).write_text("a\n1\n")
    with pytest.raises(InputError) as error:
        find_files([str(tmp_path / pattern)])
    assert str(error.value) == rf"'{tmp_path}/\udcff.csv': its name is not UTF-8: rename it"
