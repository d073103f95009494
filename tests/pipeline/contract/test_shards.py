import hashlib
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import ArtifactError
from pipeline.contract.checksums import Checksum, file_checksum
from pipeline.contract.layout import OutputLayout
from pipeline.contract.shards import (
    ParquetFileWriter,
    ShardWriter,
    is_intact,
    read_footer,
    read_shard,
    with_metadata,
)
from pipeline.contract.storage import make_directory

NAME = "part-00000-of-00001.parquet"
ROWS = pa.table({"a": list(range(10)), "b": list("abcdefghij")})


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


def write(
    layout: OutputLayout, name: str = NAME, *, rows: pa.Table = ROWS, rejected: Checksum | None = None
) -> Path:
    schema = with_metadata(ROWS.schema, {"fingerprint": "f00", "labels": '["é"]'})
    with ShardWriter(layout, name, schema) as shard:
        shard.write(rows[:4])
        shard.write(rows[4:])
        shard.finish({"rejected": 2, "exit_layer_1": 10}, rejected)
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


def test_a_shard_that_cannot_be_renamed_is_an_error(layout: OutputLayout, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
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


def test_a_file_of_somebody_else_is_no_shard(layout: OutputLayout):
    make_directory(layout.directory)
    pq.write_table(ROWS, layout.shard(NAME))
    assert read_footer(layout, NAME) is None


def write_rejected(layout: OutputLayout) -> Checksum:
    """A file of rejected rows, whatever it holds."""
    with ParquetFileWriter(layout, layout.rejected(NAME), ROWS.schema) as rejected:
        rejected.write(ROWS)
    return rejected.checksum


def is_whole(layout: OutputLayout) -> bool:
    footer = read_footer(layout, NAME)
    return footer is not None and is_intact(layout, footer)


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def test_the_footer_holds_the_checksums_of_all_else(layout: OutputLayout):
    rejected = write_rejected(layout)
    assert rejected == file_checksum(layout.rejected(NAME))
    path = write(layout, rejected=rejected)
    footer = read_footer(layout, NAME)
    assert footer is not None
    assert (footer.pages, footer.rejected) == (file_checksum(str(path), footer.pages.num_bytes), rejected)
    rest = path.read_bytes()[footer.pages.num_bytes :]
    assert footer.checksum == hashlib.sha256(rest).hexdigest()
    assert is_whole(layout)


def test_any_byte_that_changes_before_the_footer_is_found(layout: OutputLayout):
    path = write(layout)
    footer = read_footer(layout, NAME)
    assert footer is not None
    for position in range(4, footer.pages.num_bytes, 7):
        flip(path, position)
        assert not is_whole(layout)
        flip(path, position)
    assert is_whole(layout)


def test_any_byte_that_changes_in_the_footer_changes_its_checksum(layout: OutputLayout):
    path = write(layout)
    footer = read_footer(layout, NAME)
    assert footer is not None
    for position in range(footer.pages.num_bytes, path.stat().st_size - 8, 7):
        flip(path, position)
        found = read_footer(layout, NAME)
        assert found is None or found.checksum != footer.checksum
        flip(path, position)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_rejected_rows_that_are_not_what_was_written_are_found(layout: OutputLayout, damage: str):
    write(layout, rejected=write_rejected(layout))
    path = Path(layout.rejected(NAME))
    if damage == "flipped":
        flip(path, 60)
    elif damage == "cut":
        os.truncate(path, 100)
    else:
        path.unlink()
    assert not is_whole(layout)


def test_who_reads_a_shard_is_told_of_a_flipped_bit(layout: OutputLayout):
    """Not all of them spoil what is compressed: the pages' own checksums find those."""
    draw = random.Random(0)
    texts = ["".join(draw.choices("abcdefgh", k=400)) for _ in range(10)]
    path = write(layout, rows=pa.table({"a": list(range(10)), "b": texts}))
    footer = read_footer(layout, NAME)
    assert footer is not None
    num_found = 0
    whole = list(read_shard(layout, NAME))
    positions = range(4, footer.pages.num_bytes, 5)
    for position in positions:
        flip(path, position)
        try:
            assert list(read_shard(layout, NAME)) == whole
        except ArtifactError:
            num_found += 1
        flip(path, position)
    # The headers of pages have none, and the statistics in them, half of all bytes here, are not used.
    assert num_found > 0.5 * len(positions)
