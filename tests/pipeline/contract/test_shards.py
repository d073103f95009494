import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems

from model.errors import ArtifactError, OutputError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.shards import ParquetFileWriter, ShardWriter, read_footer, read_shard, with_metadata
from pipeline.contract.storage import delete_directory, make_directory

NAME = "part-00000-of-00001.parquet"
ROWS = pa.table({"a": list(range(10)), "b": list("abcdefghij")})


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


def write(layout: OutputLayout, name: str = NAME, *, rows: pa.Table = ROWS) -> Path:
    schema = with_metadata(ROWS.schema, {"fingerprint": "f00", "labels": '["é"]'})
    with ShardWriter(layout, name, schema) as shard:
        shard.write(rows[:4])
        shard.write(rows[4:])
        shard.add_counts({"rejected": 2, "exit_layer_1": 10})
    return Path(layout.shard(name))


def fail_to_write(layout: OutputLayout) -> None:
    with ShardWriter(layout, NAME, ROWS.schema) as shard:
        shard.write(ROWS[:1])
        raise KeyError("oh")


def files_of(layout: OutputLayout) -> list[str]:
    return sorted(path.name for path in Path(layout.directory).rglob("*") if path.is_file())


def test_a_shard_says_what_it_is(layout: OutputLayout):
    path = write(layout)
    footer = read_footer(layout, NAME)
    assert footer is not None
    assert (footer.name, footer.num_rows, footer.fingerprint) == (NAME, 10, "f00")
    assert footer.metadata == {"fingerprint": "f00", "labels": '["é"]'}
    assert footer.counts == {"rejected": 2, "exit_layer_1": 10}
    assert pq.read_table(path).equals(ROWS)
    assert files_of(layout) == [NAME]


def test_a_shard_of_no_rows_can_be_read(layout: OutputLayout):
    path = write(layout, rows=ROWS[:0])
    footer = read_footer(layout, NAME)
    assert footer is not None
    assert footer.num_rows == 0
    assert pq.read_table(path).equals(ROWS[:0])
    assert list(read_shard(layout, NAME)) == []


def test_a_shard_appears_only_when_it_is_whole(layout: OutputLayout):
    with ShardWriter(layout, NAME, ROWS.schema) as shard:
        shard.write(ROWS)
        assert layout.finished_shards() == []
    assert layout.finished_shards() == [NAME]


def test_a_shard_that_fails_leaves_nothing(layout: OutputLayout):
    with pytest.raises(KeyError, match="oh"):
        fail_to_write(layout)
    assert files_of(layout) == []


def test_a_failing_retry_leaves_the_shard_that_was_there(layout: OutputLayout):
    before = write(layout).read_bytes()
    with pytest.raises(KeyError, match="oh"):
        fail_to_write(layout)
    assert Path(layout.shard(NAME)).read_bytes() == before
    assert files_of(layout) == [NAME]


def test_two_attempts_at_a_shard_do_not_meet(layout: OutputLayout):
    one, two = ShardWriter(layout, NAME, ROWS.schema), ShardWriter(layout, NAME, ROWS.schema)
    with one as first:
        first.write(ROWS[:5])
        with two as second:
            second.write(ROWS)
        first.write(ROWS[5:])
    assert pq.read_table(layout.shard(NAME)).equals(ROWS)
    assert files_of(layout) == [NAME]


def test_equal_rows_are_equal_bytes(layout: OutputLayout):
    assert write(layout, "part-00000-of-00002.parquet").read_bytes() == (
        write(layout, "part-00001-of-00002.parquet").read_bytes()
    )


def test_each_table_is_a_row_group_however_large(layout: OutputLayout):
    large = pa.table({"a": pa.array(range(3_000_000), pa.int32())})
    with ParquetFileWriter(layout, layout.shard(NAME), large.schema) as file:
        file.write(large)
        file.write(large[:0])
        file.write(large[:1])
    metadata = pq.read_metadata(layout.shard(NAME))
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [3_000_000, 1]


def test_a_shard_is_streamed_in_small_batches(layout: OutputLayout):
    write(layout)
    batches = list(read_shard(layout, NAME, columns=["b"], batch_rows=3))
    assert max(map(len, batches)) <= 3
    assert pa.Table.from_batches(batches).equals(ROWS.select(["b"]))


def refusal(layout: OutputLayout, columns: list[str] | None = None) -> str:
    """The one line by which a shard is refused."""
    with pytest.raises(ArtifactError) as error:
        list(read_shard(layout, NAME, columns=columns))
    line = str(error.value)
    assert line.startswith(f"{layout.shard(NAME)!r} is missing or damaged: ")
    assert line.endswith("; remove what is left of it, and run its command again")
    assert "\n" not in line
    return line


def test_a_shard_that_is_missing_is_told(layout: OutputLayout):
    refusal(layout)


def test_a_shard_that_lacks_a_column_is_told(layout: OutputLayout):
    write(layout)
    assert "it has no column 'c'" in refusal(layout, ["a", "c"])


def test_a_shard_that_is_cut_short_is_told(layout: OutputLayout):
    path = write(layout)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        refusal(layout)


def test_a_shard_whose_pages_are_damaged_is_told(layout: OutputLayout):
    path = write(layout)
    whole = path.read_bytes()
    path.write_bytes(b"PAR1" + bytes(200) + whole[204:])
    assert read_footer(layout, NAME) is not None
    refusal(layout)


def test_what_goes_wrong_with_the_rows_of_a_shard_is_not_the_shards(layout: OutputLayout):
    def fail_to_use() -> None:
        for _ in read_shard(layout, NAME):
            raise ValueError("mine")

    write(layout)
    with pytest.raises(ValueError, match=r"^mine$"):
        fail_to_use()


def test_two_runs_of_a_job_at_once_are_told(layout: OutputLayout):
    def finish_second() -> None:
        with ShardWriter(layout, NAME, ROWS.schema) as shard:
            shard.write(ROWS)
            delete_directory(layout.temporary)

    with pytest.raises(
        OutputError, match="another run of the same job is at work on it; wait for it, or choose another"
    ):
        finish_second()
    assert files_of(layout) == []


def test_a_failure_is_told_where_another_run_has_removed_the_file_too(layout: OutputLayout):
    def fail_second() -> None:
        with ShardWriter(layout, NAME, ROWS.schema):
            delete_directory(layout.temporary)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail_second()


def test_a_rename_that_fails_for_another_reason_is_not_taken_for_that(
    layout: OutputLayout, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(FileSystems, "rename", fail)
    with pytest.raises(OSError, match="the disk is full"):
        write(layout)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a parquet file at all", b"PAR1" * 9])
def test_what_is_no_parquet_file_has_no_footer(layout: OutputLayout, content: bytes):
    make_directory(layout.directory)
    Path(layout.shard(NAME)).write_bytes(content)
    assert read_footer(layout, NAME) is None


def test_a_damaged_shard_has_no_footer_or_not_its_own(layout: OutputLayout):
    path = write(layout)
    whole = path.read_bytes()
    footer_bytes = int.from_bytes(whole[-8:-4], "little")
    for position in range(len(whole) - footer_bytes - 8, len(whole), 5):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        read_footer(layout, NAME)  # whatever it finds, it does not raise
    for length in range(0, len(whole), 97):
        os.truncate(path, length) if length < path.stat().st_size else path.write_bytes(whole[:length])
        assert read_footer(layout, NAME) is None


def test_a_file_of_somebody_else_has_no_fingerprint(layout: OutputLayout):
    make_directory(layout.directory)
    pq.write_table(ROWS, layout.shard(NAME))
    footer = read_footer(layout, NAME)
    assert footer is not None
    assert (footer.fingerprint, footer.counts, footer.metadata) == ("", {}, {})
