from pathlib import Path

import pyarrow as pa
import pytest

from model.errors import InputError
from pipeline.contract.columns import Columns
from pipeline.contract.plan import RowRange, WorkItem
from pipeline.reading.input_files import InputFile
from pipeline.reading.text_reader import inspect_text, read_text

COLUMNS = Columns(text="t", id="k")


def inspect(
    path: Path, format: str = "csv"
) -> tuple[list[tuple[int, int, int, int]], dict[str, pa.DataType]]:
    file = InputFile(path=str(path), format=format, size=path.stat().st_size)
    ranges, types = inspect_text(file, COLUMNS, rows_per_shard=2)
    return [(rows.first_row, rows.num_rows, rows.first_byte, rows.num_bytes) for rows in ranges], types


def read(
    path: Path, rows: RowRange, *, max_rows: int = 100, max_bytes: int = 1000
) -> list[list[bytes | None]]:
    item = WorkItem(index=0, num_items=1, path=str(path), format="csv", rows=rows)
    batches = read_text(item, COLUMNS, {}, max_rows=max_rows, max_bytes=max_bytes)
    return [raw.texts["t"].to_pylist() for raw in batches]


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"k,t", b"k,t\n", b'"k",t\r\n'])
def test_a_file_without_rows_has_no_ranges(tmp_path: Path, content: bytes):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    has_header = b"k" in content
    assert inspect(path) == ([], {"k": pa.string()} if has_header else {})
    if not has_header:
        assert inspect(path, "jsonl") == ([], {"k": pa.null()})


def test_ranges_begin_at_rows(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbf"k\n",k,t\r\n,1,a\n,2,"b\n"\n\n,4,d')
    ranges, types = inspect(path)
    assert ranges == [(0, 2, 13, 13), (2, 2, 26, 5)]
    assert types == {"k": pa.string()}
    assert read(path, RowRange(first_row=2, num_rows=2, first_byte=26, num_bytes=5)) == [[None, b"d"]]


def test_batches_are_bounded_in_rows_and_bytes(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"k,t\n1,a\n2,b\n3,c\n4,dddddddd\n5,e\n")
    rows = RowRange(first_row=0, num_rows=5, first_byte=4, num_bytes=-1)
    assert read(path, rows, max_rows=2) == [[b"a", b"b"], [b"c", b"dddddddd"], [b"e"]]
    assert read(path, rows, max_bytes=6) == [[b"a", b"b"], [b"c"], [b"dddddddd"], [b"e"]]


@pytest.mark.parametrize("content", [b"k,t\n1,a\n", b"k,t\n1,a\n2,b\n3,c\n"])
def test_a_file_with_other_rows_than_planned_is_an_error(tmp_path: Path, content: bytes):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a.csv: changed since the job was planned: start the job afresh"):
        read(path, RowRange(first_row=0, num_rows=2, first_byte=4, num_bytes=100))


def test_a_file_with_other_columns_than_planned_is_an_error(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"a.csv: no column 't'"):
        read(path, RowRange(first_row=0, num_rows=2, first_byte=4, num_bytes=8))
