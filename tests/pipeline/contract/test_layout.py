import json
from pathlib import Path

import pytest

from model.errors import OutputError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.storage import basename, list_files, make_directory, read_json, write_json


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


def fill(layout: OutputLayout) -> None:
    """Write everything that a job writes."""
    for path in (layout.shard("part-00000-of-00002.parquet"), layout.rejected("part-00001-of-00002.parquet")):
        make_directory(str(Path(path).parent))
        Path(path).write_bytes(b"shard")
    for directory in (layout.temporary, layout.audit_directory):
        make_directory(directory)
        (Path(directory) / "file").write_bytes(b"")
    for path in (layout.job, layout.manifest):
        write_json(path, {})
        Path(path + ".partial").write_bytes(b"")


def test_delete_removes_what_a_job_wrote_and_nothing_else(layout: OutputLayout):
    fill(layout)
    foreign = [Path(layout.directory) / name for name in ("notes.txt", "part-1.parquet", "sub/part.parquet")]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    layout.delete()
    assert sorted(path for path in Path(layout.directory).rglob("*") if path.is_file()) == sorted(foreign)


def test_delete_of_nothing_does_nothing(layout: OutputLayout):
    layout.delete()
    assert not Path(layout.directory).exists()


def test_finished_shards_are_sorted_and_only_shards(layout: OutputLayout):
    make_directory(layout.directory)
    names = [f"part-{index:05d}-of-00003.parquet" for index in (2, 0, 1)]
    for name in (*names, "_JOB.json", "part-00000.parquet", "other.parquet"):
        Path(layout.shard(name)).touch()
    assert layout.finished_shards() == sorted(names)


def test_what_readers_of_parquet_directories_must_not_see_starts_with_an_underscore(layout: OutputLayout):
    paths = (layout.job, layout.manifest, layout.temporary, layout.audit_directory)
    assert all(basename(path).startswith("_") for path in paths)


def test_making_a_directory_twice_is_fine(tmp_path: Path):
    make_directory(str(tmp_path / "a" / "b"))
    make_directory(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_directory(str(tmp_path / "file" / "b"))


def test_listing_where_nothing_is_gives_nothing(tmp_path: Path):
    assert list_files(str(tmp_path / "nowhere" / "*")) == []


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


@pytest.mark.parametrize("directory", ["nowhere://bucket/out", "hdfs://host/out"])
def test_a_file_system_that_cannot_be_used_is_told_in_one_line(directory: str):
    with pytest.raises(OutputError) as error:
        OutputLayout(directory)
    assert str(error.value).startswith(f"'{directory}' cannot be used: ")
    assert "\n" not in str(error.value)
