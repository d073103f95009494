from pathlib import Path

import pytest

from model.errors import OutputError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.storage import basename, make_directory, write_json


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


@pytest.mark.parametrize("directory", ["nowhere://bucket/out", "hdfs://host/out"])
def test_a_file_system_that_cannot_be_used_is_told_in_one_line(directory: str):
    with pytest.raises(OutputError) as error:
        OutputLayout(directory)
    assert str(error.value).startswith(f"'{directory}' cannot be used: ")
    assert "\n" not in str(error.value)
