import json
from typing import Any

import pyarrow as pa
import pytest

from model.errors import InputError
from pipeline.contract.columns import Columns
from pipeline.reading.jsonl_reader import INFERENCE_ROWS, JsonParser, infer_types

DEEP = b'{"t": ' + b"[" * 100_000


def lines(*values: Any) -> list[bytes]:
    return [json.dumps({"t": "a", "k": value}).encode() for value in values]


def faults_of(*records: bytes, kind: pa.DataType | None = None) -> list[tuple[str, bytes | None]]:
    columns = Columns(text="t") if kind is None else Columns(text="t", id="k")
    raw = JsonParser(columns, {"k": kind}).parse(records, first_row=0)
    found = {**raw.row_errors, **raw.value_errors.get("t", {}), **raw.value_errors.get("k", {})}
    return [(str(reason), value) for _, (reason, value) in sorted(found.items())]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", None], pa.string()),
        ([1, None, -2], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([True, False], pa.bool_()),
        ([None], pa.null()),
    ],
)
def test_types_are_inferred(values: list[Any], kind: pa.DataType):
    assert infer_types(lines(*values), Columns(text="t", keep=("k",)), path="x") == ({"k": kind}, True)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, "a"], "integers and strings"),
        ([True, 1], "booleans and integers"),
        ([{}], "objects"),
        ([[1]], "arrays"),
    ],
)
def test_only_one_scalar_type_is_passed_through(values: list[Any], names: str):
    with pytest.raises(InputError, match=f"x.jsonl: column 'k' holds {names}: only one scalar type"):
        infer_types(lines(*values), Columns(text="t", id="k"), path="x.jsonl")


@pytest.mark.parametrize("value", [["a", None], [1], [["a"]]])
def test_arrays_that_are_kept_are_of_strings(value: list[Any]):
    with pytest.raises(InputError, match="column 'k' holds arrays of other things than strings"):
        infer_types(lines(value), Columns(text="t", keep=("k",)), path="x.jsonl")


def test_the_head_tells_which_columns_there_are():
    late = [*lines(*[1] * INFERENCE_ROWS), b'{"late": 1}']
    with pytest.raises(
        InputError, match=r"x.jsonl, first 1,000 objects: no column 'late'; its columns: t, k"
    ):
        infer_types(late, Columns(text="late"), path="x.jsonl")
    named = [b'{"late": null}', *late]
    assert infer_types(named, Columns(text="late", keep=("late",)), path="x") == ({"late": pa.null()}, True)
    with pytest.raises(InputError, match=r"x.jsonl: no column 't'; its columns: none"):
        infer_types([b"", b"nonsense"], Columns(text="t"), path="x.jsonl")
    assert infer_types([], Columns(text="t", id="k"), path="x.jsonl") == ({"k": pa.null()}, False)


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (b"", ("empty", b"")),
        (b" \t", ("empty", b" \t")),
        (b"nonsense", ("malformed", b"nonsense")),
        (b"[1]", ("malformed", b"[1]")),
        (DEEP, ("malformed", DEEP)),
        (b'{"t": ' + b"9" * 5000 + b"}", ("malformed", b'{"t": ' + b"9" * 5000 + b"}")),
        (b'{"t": 1}', ("not_a_string", b"1")),
        (b'{"t": {"a": ["\xc3\xa9", NaN]}}', ("not_a_string", b'{"a": ["\xc3\xa9", NaN]}')),
        (b'{"t": "a\xff"}', ("undecodable", b"a\xff")),
        (b'{"t": "\\ud800"}', ("undecodable", b"\xed\xa0\x80")),
    ],
)
def test_texts_that_cannot_be_read(record: bytes, error: tuple[str, bytes]):
    assert faults_of(record) == [error]


def test_no_depth_of_nesting_ends_the_job():
    records = [b'{"t": ' + b"[" * depth + b"]" * depth + b"}" for depth in range(100, 1100)]
    reasons = [reason for reason, _ in faults_of(*records)]
    assert len(reasons) == len(records)
    assert set(reasons) == {"not_a_string", "malformed"}


def test_bytes_that_are_not_utf8_spoil_their_own_value_alone():
    assert faults_of(b'{"t": "a", "other": "\xff"}') == []


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        (pa.string(), '"a"', True),
        (pa.string(), "1", False),
        (pa.int64(), "1", True),
        (pa.int64(), str(2**63 - 1), True),
        (pa.int64(), str(2**63), False),
        (pa.int64(), "1.5", False),
        (pa.int64(), "true", False),
        (pa.float64(), "1", True),
        (pa.float64(), str(2**53 + 1), False),
        (pa.float64(), "true", False),
        (pa.bool_(), "0", False),
        (pa.timestamp("us"), "1", False),
        (pa.timestamp("us"), "null", True),
    ],
)
def test_values_fit_their_column(kind: pa.DataType, value: str, fits: bool):
    found = faults_of(f'{{"t": "a", "k": {value}}}'.encode(), kind=kind)
    assert found == ([] if fits else [("wrong_type", value.encode())])


def test_an_id_that_is_no_unicode_is_undecodable():
    assert faults_of(b'{"t": "a", "k": "\xff"}', kind=pa.string()) == [("undecodable", b"\xff")]
