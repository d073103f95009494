import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from pipeline.contract.columns import Columns
from pipeline.reading.csv_reader import DelimitedParser, parse_header, split_csv

fields = st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=4)


@given(fields, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
def test_csv_is_what_the_csv_module_writes(row: list[str], quoting: int):
    file = io.StringIO()
    csv.writer(file, quoting=quoting).writerow(row)
    record = file.getvalue().removesuffix("\r\n").encode()
    assert split_csv(record) == [field.encode() for field in row]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b"", [b""]),
        (b",", [b"", b""]),
        (b'"",""', [b"", b""]),
        (b'5" pipe,a"b"', [b'5" pipe', b'a"b"']),
        (b'"a,""b""\r\n"', [b'a,"b"\r\n']),
        (b'"a\rb",a\rb', [b"a\rb", b"a\rb"]),
        (b'"a"b,c', None),
        (b'"a', None),
        (b'a,"', None),
        (b'""a"",b', None),
    ],
)
def test_csv_quotes(record: bytes, expected: list[bytes] | None):
    assert split_csv(record) == expected


def test_a_field_of_a_mebibyte_is_as_good_as_any():
    assert split_csv(b'"' + b'a""' * 400_000 + b'",b') == [b'a"' * 400_000, b"b"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"a,\xff", "x.csv: the header is not UTF-8"),
        (b'a,"b', "x.csv: the quotes of the header do not close"),
    ],
)
def test_a_header_that_cannot_be_read_is_an_error(header: bytes, message: str):
    with pytest.raises(InputError, match=message):
        parse_header(header, format="csv", path="x.csv")


def test_rows_that_do_not_fit_the_header_are_malformed_and_blank_lines_empty():
    parser = DelimitedParser(Columns(text="b", id="a"), ["a", "b"], format="csv")
    raw = parser.parse([b'1,"x"', b"", b"2", b"3,y,z", b'4,"y"z', b"5,\xff"], first_row=10)
    assert raw.first_row == 10
    assert raw.texts["b"].to_pylist() == [b"x", None, None, None, None, b"\xff"]
    assert raw.passthrough["a"].to_pylist() == [b"1", None, None, None, None, b"5"]
    assert {index: (str(reason), value) for index, (reason, value) in raw.row_errors.items()} == {
        1: ("empty", b""),
        2: ("malformed", b"2"),
        3: ("malformed", b"3,y,z"),
        4: ("malformed", b'4,"y"z'),
    }
