from typing import Any

import pyarrow as pa
import pytest

from pipeline.contract import schema
from pipeline.contract.columns import Columns
from pipeline.reading.row_validation import (
    MAX_RAW_BYTES,
    RawRows,
    RejectReason,
    RowBatch,
    RowErrors,
    accepted_schema,
    validate_rows,
)

PAIR = Columns(text="t", text_pair="p")


def binary(*values: bytes | None) -> pa.Array:
    return pa.array(values, type=pa.binary())


def sift_text(*values: bytes | None) -> RowBatch:
    columns = Columns(text="t")
    raw = RawRows(first_row=0, num_rows=len(values), texts={"t": binary(*values)}, passthrough={})
    return validate_rows(raw, source="a.csv", columns=columns, target=accepted_schema(columns, None, ()))


def rejected(batch: RowBatch) -> list[tuple[int, str, bytes | None]]:
    return [(row["row"], row["reason"], row["raw_value"]) for row in batch.rejected.to_pylist()]


def test_the_columns_stand_in_their_order():
    columns = Columns(text="t", text_pair="p", id="k", keep=("z", "t"))
    kept = (pa.field("z", pa.int8()), pa.field("t", pa.binary()))
    target = accepted_schema(columns, pa.string(), kept)
    assert target.names == ["row", schema.INPUT_TEXT, schema.INPUT_TEXT_PAIR, "id", "z", "t"]
    raw = RawRows(
        first_row=5,
        num_rows=1,
        texts={"t": binary(b"a"), "p": binary(b"b")},
        passthrough={"k": binary(b"key"), "z": pa.array([1], type=pa.int8()), "t": binary(b"\xff")},
    )
    batch = validate_rows(raw, source="a.csv", columns=columns, target=target)
    assert batch.accepted.schema == target
    assert batch.accepted.to_pylist() == [
        {"row": 5, schema.INPUT_TEXT: "a", schema.INPUT_TEXT_PAIR: "b", "id": "key", "z": 1, "t": b"\xff"}
    ]
    assert batch.rejected.schema == schema.rejected_schema()
    assert batch.rejected.num_rows == 0


def test_a_text_that_cannot_be_classified_rejects_its_row():
    batch = sift_text(b"a", None, b"", " \u3000\r\n\x1c".encode(), b"\xff\xfe", "\0é\u200b".encode())
    assert batch.accepted.column(schema.INPUT_TEXT).to_pylist() == ["a", "\0é\u200b"]
    assert batch.accepted.column("row").to_pylist() == [0, 5]
    assert rejected(batch) == [
        (1, "null", None),
        (2, "empty", b""),
        (3, "empty", " \u3000\r\n\x1c".encode()),
        (4, "undecodable", b"\xff\xfe"),
    ]
    assert set(batch.rejected.column("source").to_pylist()) == {"a.csv"}


def test_a_raw_value_is_cut():
    batch = sift_text(b"\xff" * (MAX_RAW_BYTES + 1), b" " * (MAX_RAW_BYTES + 1))
    assert [len(value) for _, _, value in rejected(batch) if value] == [MAX_RAW_BYTES, MAX_RAW_BYTES]


def test_a_batch_may_have_no_rows_on_a_side():
    assert sift_text().accepted.num_rows == 0
    assert sift_text(None).accepted.schema.names == ["row", schema.INPUT_TEXT]


@pytest.mark.parametrize(
    ("text", "pair", "key", "expected"),
    [
        (None, b"\xff", b"\xff", ("null", None)),
        (b"a", b" ", b"\xff", ("empty", b" ")),
        (b"a", None, b"k", ("null", None)),
        (b"a", b"b", b"k\xff", ("undecodable", b"k\xff")),
    ],
)
def test_the_first_fault_is_the_reason(
    text: bytes | None, pair: bytes | None, key: bytes, expected: tuple[str, bytes | None]
):
    columns = Columns(text="t", text_pair="p", id="k")
    texts = {"t": binary(text), "p": binary(pair)}
    raw = RawRows(first_row=0, num_rows=1, texts=texts, passthrough={"k": binary(key)})
    batch = validate_rows(raw, source="a", columns=columns, target=accepted_schema(columns, pa.string(), ()))
    assert rejected(batch) == [(0, *expected)]


@pytest.mark.parametrize(
    ("row_errors", "value_errors", "expected"),
    [
        ({0: (RejectReason.MALFORMED, b"line")}, {"p": {0: (RejectReason.NOT_A_STRING, b"1")}}, "malformed"),
        ({}, {"p": {0: (RejectReason.NOT_A_STRING, b"1")}}, "null"),
        ({}, {"t": {0: (RejectReason.NOT_A_STRING, b"1")}}, "not_a_string"),
    ],
)
def test_what_the_reader_found_goes_before_the_null_that_it_left(
    row_errors: RowErrors, value_errors: dict[str, RowErrors], expected: str
):
    texts = {"t": binary(None), "p": binary(None)}
    raw = RawRows(
        first_row=3, num_rows=1, texts=texts, passthrough={}, row_errors=row_errors, value_errors=value_errors
    )
    batch = validate_rows(raw, source="a", columns=PAIR, target=accepted_schema(PAIR, None, ()))
    assert [(row, reason) for row, reason, _ in rejected(batch)] == [(3, expected)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array(["a", None]), pa.string()),
        (pa.array(["a", None]).cast(pa.string_view()), pa.string_view()),
        (pa.array(["a", None]).dictionary_encode(), pa.dictionary(pa.int32(), pa.string())),
        (pa.array([[1], None]), pa.list_(pa.int64())),
        (pa.chunked_array([[b"a"], [None]]), pa.binary()),
        (pa.nulls(2), pa.timestamp("us")),
    ],
)
def test_what_is_passed_through_stays_what_it_is(values: Any, kind: pa.DataType):
    columns = Columns(text="t", keep=("k",))
    target = accepted_schema(columns, None, (pa.field("k", kind),))
    raw = RawRows(first_row=0, num_rows=2, texts={"t": binary(b"a", b"b")}, passthrough={"k": values})
    batch = validate_rows(raw, source="a", columns=columns, target=target)
    assert batch.accepted.column("k").type == kind
    assert batch.accepted.column("k").to_pylist() == values.to_pylist()
    assert batch.rejected.num_rows == 0
