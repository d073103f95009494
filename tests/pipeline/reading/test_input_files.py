import gzip
import os
from pathlib import Path

import pytest

from model.errors import InputError, OutputError, ParameterError
from pipeline.reading.input_files import (
    InputFile,
    check_reads_no_output,
    find_files,
    open_input,
)
from tests.pipeline.contract.score_jobs import store

__all__ = ["store"]


def names(*patterns: Path | str, format: str | None = None) -> list[str]:
    return [
        Path(file.path).name for file in find_files([str(pattern) for pattern in patterns], format=format)
    ]


READ = ["a.tsv", "b.csv", "c.jsonl.gz", "d.NDJSON", "e.parquet"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in [*READ, "_MANIFEST.json", "_g.csv", ".h.csv"]:
        (tmp_path / name).write_bytes(b"123")
    (tmp_path / "_inner").mkdir()
    (tmp_path / "_inner" / "i.csv").touch()
    return tmp_path


def test_a_directory_stands_for_the_files_in_it(folder: Path):
    assert names(folder) == READ
    assert names(f"{folder}/") == READ


@pytest.mark.parametrize("name", ["f.txt", "README", "year=2024/g.csv"])
def test_a_directory_of_which_something_would_be_left_out_is_refused(folder: Path, name: str):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    with pytest.raises(InputError) as error:
        find_files([str(folder)])
    assert str(error.value) == (
        f"{folder}/: not all in it would be read: {name.replace('g.csv', '')}; give a glob, such as "
        f"'{folder}/*.parquet' for files in it, or '{folder}/**.parquet' for those below too"
    )
    assert names(folder / "*.parquet") == ["e.parquet"]
    assert "g.csv" in names(folder / "**.csv") or "year" not in name


def test_few_of_the_names_that_would_be_left_out_are_told(folder: Path):
    for number in range(100):
        (folder / f"{number:02}").touch()
    with pytest.raises(InputError, match=r"would be read: 00, 01, 02, 03, 04, \.\.\.; give"):
        find_files([str(folder)])


def test_of_an_output_of_ours_the_rejected_rows_are_left_out(folder: Path):
    (folder / "rejected").mkdir()
    with pytest.raises(InputError, match="would be read: rejected/;"):
        find_files([str(folder)])
    (folder / "_JOB.json").touch()
    assert names(folder) == READ


def test_an_output_that_is_not_finished_is_no_input(folder: Path):
    (folder / "_JOB.json").touch()
    (folder / "_MANIFEST.json").unlink()
    with pytest.raises(
        InputError, match="is the output of a job that is not finished: run its command again"
    ):
        find_files([str(folder)])
    assert names(f"{folder}/[a-e]*") == READ


def test_with_a_format_every_file_of_a_directory_counts(folder: Path):
    (folder / "e.parquet").rename(folder / "f.txt")
    assert names(folder, format="csv") == [*READ[:-1], "f.txt"]


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


@pytest.mark.parametrize("pattern", ["nothing.csv", "*.csv", "", ".", "nothing/", "nothing/*.csv"])
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


def test_an_object_store_has_no_directories_but_names_with_slashes(folder: Path, store: dict[str, bytes]):
    store |= {f"teststore://{path}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for pattern in [f"teststore://{folder}", f"teststore://{folder}/", f"teststore://{folder}/[a-e]*"]:
        assert names(pattern) == READ
    assert names(f"teststore://{folder}/a.tsv") == ["a.tsv"]
    store[f"teststore://{folder}/year=2024/g.csv"] = b""
    with pytest.raises(InputError, match="would be read: year=2024/; give"):
        find_files([f"teststore://{folder}"])


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


@pytest.mark.parametrize(
    ("pattern", "output", "is_read"),
    [
        ("in", "in/out", True),
        ("in/", "in/deep/out", True),
        ("in", "in/_out", False),
        ("in", "in-out", False),
        ("in", "in", False),
        ("in/**.parquet", "in/out", True),
        ("./in/**", "in/deep/out", True),
        ("in/*", "in/out", True),
        ("in/*.parquet", "in/out", False),
        ("in/a.parquet", "in/out", False),
        ("in/[a]*.parquet", "in/out", False),
        ("gs://b/in", "in/out", False),
        ("gs://b/in", "gs://b/in/out", True),
        ("gs://b/in/", "gs://b/in/_out", False),
        ("gs://b/in", "gs://b/into", False),
        ("gs://b/in/**.parquet", "gs://b/in/deep/out", True),
        ("gs://b/in/*", "gs://b/in/out/", True),
        ("gs://b/in/*.parquet", "gs://b/in/out", False),
    ],
)
def test_no_output_is_read_as_input_when_a_command_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, output: str, is_read: bool
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.parquet").touch()
    if not is_read:
        check_reads_no_output([pattern], output)
        return
    with pytest.raises(OutputError, match=f"'{output}' lies in what `input` .* reads, and would be read"):
        check_reads_no_output([pattern], output)
