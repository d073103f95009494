import io
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from pipeline.reading import record_splitter
from pipeline.reading.record_splitter import CsvRecordEnds, find_ranges, line_ends, read_records, skip_bom

csv_bytes = st.lists(
    st.sampled_from([b'"', b",", b"\n", b"\r\n", b"\r", b"a", "é".encode()]), max_size=40
).map(b"".join)


def ends_of(data: bytes) -> list[int]:
    """Find the ends of CSV records one byte at a time."""
    ends = []
    inside, opens = False, True
    for position, byte in enumerate(data):
        char = chr(byte)
        if inside:
            inside, opens = char != '"', char == '"'  # a quote that follows at once opens again
        elif char == '"' and opens:
            inside = True
        else:
            opens = char in ",\n"
            if char == "\n":
                ends.append(position)
    return ends


@given(csv_bytes, st.lists(st.integers(0, 40)))
def test_csv_records_end_at_newlines_outside_quotes_whatever_the_blocks(data: bytes, cuts: list[int]):
    bounds = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    find_ends = CsvRecordEnds()
    found: list[int] = []
    for start, stop in pairwise(bounds):
        found += (find_ends(np.frombuffer(data[start:stop], dtype=np.uint8)) + start).tolist()
    assert found == ends_of(data)


@given(csv_bytes, st.integers(1, 5), st.integers(1, 16), st.booleans(), st.booleans())
def test_ranges_hold_the_records_of_the_whole_file(
    data: bytes, rows_per_shard: int, block_bytes: int, is_csv: bool, has_header: bool
):
    def ends() -> record_splitter.RecordEnds:
        return CsvRecordEnds() if is_csv else line_ends

    stream = io.BytesIO(data)
    with (
        mock.patch.object(record_splitter, "SCAN_BLOCK_BYTES", block_bytes),
        mock.patch.object(record_splitter, "READ_BLOCK_BYTES", block_bytes),
    ):
        ranges = find_ranges(stream, ends(), path="x", has_header=has_header, rows_per_shard=rows_per_shard)
        skip_bom(stream, path="x")
        records = list(read_records(stream, ends(), path="x"))[int(has_header) :]
        for rows in ranges:
            stream.seek(rows.first_byte)
            assert (
                list(read_records(stream, ends(), path="x", num_bytes=rows.num_bytes))
                == records[rows.first_row : rows.first_row + rows.num_rows]
            )
            assert 0 < rows.num_rows <= rows_per_shard
    assert sum(rows.num_rows for rows in ranges) == len(records)


@pytest.mark.parametrize(
    ("data", "records"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"\n", [b""]),
        (b"a\r\nb\r", [b"a", b"b\r"]),
        (b"a\rb\r\r\n", [b"a\rb\r"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", [b"a", b"\xef\xbb\xbfb"]),
        ("a\u2028b\x0b\x0c\x1c\x85\nc".encode(), ["a\u2028b\x0b\x0c\x1c\x85".encode(), b"c"]),
    ],
)
def test_only_newlines_end_lines(data: bytes, records: list[bytes]):
    stream = io.BytesIO(data)
    skip_bom(stream, path="x")
    assert list(read_records(stream, line_ends, path="x")) == records


@pytest.mark.parametrize("data", [b"a\n" + b"b" * 101, b"b" * 101 + b"\na\n"])
def test_a_record_without_end_is_an_error(data: bytes):
    with (
        mock.patch.object(record_splitter, "MAX_RECORD_BYTES", 100),
        mock.patch.object(record_splitter, "READ_BLOCK_BYTES", 7),
        mock.patch.object(record_splitter, "SCAN_BLOCK_BYTES", 7),
    ):
        with pytest.raises(InputError, match=r"x.csv: a row is longer than"):
            list(read_records(io.BytesIO(data), line_ends, path="x.csv"))
        with pytest.raises(InputError, match=r"x.csv: a row is longer than"):
            find_ranges(io.BytesIO(data), line_ends, path="x.csv", has_header=False, rows_per_shard=10)


def test_a_file_that_fails_in_the_middle_is_named(tmp_path: Path):
    stream = mock.Mock(spec=io.BytesIO)
    stream.read.side_effect = OSError(5, "Input/output error")
    with pytest.raises(InputError, match=r"x.csv: cannot be read: Input/output error"):
        list(read_records(stream, line_ends, path="x.csv"))
