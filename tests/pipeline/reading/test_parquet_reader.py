from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from pipeline.contract.columns import Columns
from pipeline.contract.plan import RowRange, WorkItem
from pipeline.reading import parquet_reader
from pipeline.reading.input_files import InputFile
from pipeline.reading.parquet_reader import cut_row_groups, inspect_parquet, read_parquet
from pipeline.reading.row_validation import RawRows

TEXT = Columns(text="t")


def item(path: Path, first_row: int, num_rows: int) -> WorkItem:
    rows = RowRange(first_row=first_row, num_rows=num_rows)
    return WorkItem(index=0, num_items=1, path=str(path), format="parquet", rows=rows)


def read(
    path: Path, first_row: int, num_rows: int, *, max_rows: int = 100, max_bytes: int = 10**6
) -> list[RawRows]:
    return list(read_parquet(item(path, first_row, num_rows), TEXT, max_rows=max_rows, max_bytes=max_bytes))


def inspect(path: Path) -> None:
    file = InputFile(path=str(path), format="parquet", size=path.stat().st_size)
    inspect_parquet(file, TEXT, rows_per_shard=10)


def write(path: Path, values: list[str], row_group_size: int = 1000) -> Path:
    pq.write_table(pa.table({"t": values}), path, row_group_size=row_group_size)
    return path


@given(st.lists(st.integers(0, 30), max_size=10), st.integers(1, 20))
def test_ranges_are_whole_groups_or_slices_of_one(sizes: list[int], rows_per_shard: int):
    ranges = list(cut_row_groups(sizes, rows_per_shard))
    rows = [row for part in ranges for row in range(part.first_row, part.first_row + part.num_rows)]
    assert rows == list(range(sum(sizes)))
    assert all(0 < part.num_rows <= rows_per_shard for part in ranges)
    bounds = {sum(sizes[:index]) for index in range(len(sizes) + 1)}
    for part in ranges:
        stop = part.first_row + part.num_rows
        inner = bounds & set(range(part.first_row + 1, stop))
        assert {part.first_row, stop} <= bounds or not inner


@pytest.mark.parametrize("row_group_size", [1, 7, 50, 1000])
def test_any_range_can_be_read(tmp_path: Path, row_group_size: int):
    texts = [f"text {index}" for index in range(50)]
    path = write(tmp_path / "a.parquet", texts, row_group_size)
    for first_row, num_rows in [(0, 50), (0, 1), (49, 1), (6, 2), (13, 30)]:
        batches = read(path, first_row, num_rows, max_rows=8)
        assert [batch.num_rows for batch in batches[:-1]] == [8] * (len(batches) - 1)
        found = [text.decode() for batch in batches for text in batch.texts["t"].to_pylist()]
        assert found == texts[first_row : first_row + num_rows]
        assert batches[0].first_row == first_row


def test_a_batch_is_as_full_as_its_bytes_allow(tmp_path: Path):
    path = write(tmp_path / "a.parquet", ["a" * 4, "b" * 6, "c" * 30, "d", "e" * 9, "f" * 2])
    sizes = [batch.num_rows for batch in read(path, 0, 6, max_bytes=10)]
    assert sizes == [2, 1, 2, 1]


TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_text_may_have_any_type_that_holds_text(tmp_path: Path, kind: pa.DataType):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"t": pa.array(["a", None, "é"]).cast(kind)}), path)
    inspect(path)
    (raw,) = read(path, 0, 3)
    assert raw.texts["t"].to_pylist() == [b"a", None, "é".encode()]


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.list_(pa.string()), pa.dictionary(pa.int8(), pa.int64())], ids=str
)
def test_text_of_another_type_is_an_error(tmp_path: Path, kind: pa.DataType):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"t": pa.array([], type=kind)}), path)
    with pytest.raises(InputError, match=r"a.parquet: column 't' holds .*, not text: name another"):
        inspect(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 nonsense PAR1"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^.*a.parquet: cannot be read: [^\n]+$"):
        inspect_parquet(
            InputFile(path=str(path), format="parquet", size=len(content)), TEXT, rows_per_shard=10
        )


def test_a_broken_page_is_named(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"t": [str(i) for i in range(5000)]}), path, compression="zstd", use_dictionary=False
    )
    content = bytearray(path.read_bytes())
    content[200:2000] = b"\0" * 1800
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a.parquet: cannot be read: "):
        read(path, 0, 5000)


@pytest.mark.parametrize("num_rows", [4, 10])
def test_a_file_that_has_shrunk_is_an_error(tmp_path: Path, num_rows: int):
    path = write(tmp_path / "a.parquet", ["a"] * 3)
    with pytest.raises(InputError, match=r"a.parquet: changed since the job was planned"):
        read(path, 0, num_rows)


LONG, SHORT = "x" * 100_000, "short"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[pa.RecordBatch]:
    """What was decoded at once, time after time."""
    batches = []
    in_full = parquet_reader._in_full

    def spy(batch: pa.RecordBatch, folded: Sequence[str]) -> pa.RecordBatch:
        batches.append(in_full(batch, folded))
        return batches[-1]

    monkeypatch.setattr(parquet_reader, "_in_full", spy)
    return batches


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
@pytest.mark.parametrize("column", ["t", "k"])
@pytest.mark.parametrize(
    ("values", "most_rows"),
    # Nothing tells before the first long row that the next is not short, so that some are decoded with it.
    [([LONG] * 500 + [SHORT] * 50_000, 20), ([SHORT] * 50_000 + [LONG] * 500, 256)],
    ids=["long first", "short first"],
)
def test_few_long_rows_are_decoded_at_once_however_they_repeat(
    tmp_path: Path,
    decoded: list[pa.RecordBatch],
    kind: pa.DataType,
    column: str,
    values: list[str],
    most_rows: int,
):
    table = pa.table({"t": [SHORT] * len(values), "k": range(len(values))})
    table = table.set_column("tk".index(column), column, pa.array(values).cast(kind))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=len(values))
    columns = Columns(text="t", keep=("k",))
    whole = item(tmp_path / "a.parquet", 0, len(values))
    found = []
    for raw in read_parquet(whole, columns, max_rows=len(values), max_bytes=10**6):
        assert raw.texts["t"].nbytes + raw.passthrough["k"].nbytes < 3 * 10**6
        found += (raw.texts["t"].cast(pa.string()) if column == "t" else raw.passthrough["k"]).to_pylist()
    assert found == values
    assert max(batch.nbytes for batch in decoded) < most_rows * 110_000
    assert len(decoded) < 1500


def test_ordinary_rows_are_decoded_many_at_once(tmp_path: Path, decoded: list[pa.RecordBatch]):
    read(write(tmp_path / "a.parquet", [f"text {index}" for index in range(10_000)], 10_000), 0, 10_000)
    assert [len(batch) for batch in decoded[:10]] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 256]
