import csv
import gzip
import io
import json
import os
import pickle
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import InputError, ParameterError
from pipeline.contract import schema
from pipeline.reading import record_splitter
from pipeline.reading.inputs import Columns, Inputs, ReadOptions, RowBatch, inspect_inputs, read_item
from tests.pipeline.contract.score_jobs import store

__all__ = ["store"]

COLUMNS = Columns(text="t", id="k")
BREAKS = "\u2028\u2029\x0b\x0c\x1c\x1d\x1e\x85\r"
texts = st.lists(
    st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(BREAKS + '",\n\t ')), max_size=12),
    max_size=20,
)


def as_parquet(rows: Sequence[str]) -> bytes:
    file = io.BytesIO()
    table = pa.table({"t": pa.array(rows, type=pa.string()), "k": [str(i) for i in range(len(rows))]})
    pq.write_table(table.cast(pa.schema({"t": pa.string(), "k": pa.string()})), file, row_group_size=3)
    return file.getvalue()


def as_jsonl(rows: Sequence[str]) -> bytes:
    lines = [json.dumps({"k": str(i), "t": row}, ensure_ascii=i % 2 == 0) for i, row in enumerate(rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def as_csv(rows: Sequence[str]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([["t", "k"], *([row, i] for i, row in enumerate(rows))])
    return file.getvalue().encode()


def as_tsv(rows: Sequence[str]) -> bytes:
    return "".join(
        f"{row}\t{key}\n" for row, key in [("t", "k"), *zip(rows, range(len(rows)), strict=True)]
    ).encode()


def gzipped(write: Callable[[Sequence[str]], bytes]) -> Callable[[Sequence[str]], bytes]:
    return lambda rows: gzip.compress(write(rows))


WRITERS = {
    "a.parquet": as_parquet,
    "a.jsonl": as_jsonl,
    "a.csv": as_csv,
    "a.tsv": as_tsv,
    "a.jsonl.gz": gzipped(as_jsonl),
    "a.csv.gz": gzipped(as_csv),
}


def read(inputs: Inputs, *, max_rows: int = 1000, max_bytes: int = 10**9) -> list[RowBatch]:
    return [
        batch
        for item in inputs.plan().items
        for batch in read_item(item, inputs.options, max_rows=max_rows, max_bytes=max_bytes)
    ]


def rejected(batches: Sequence[RowBatch]) -> list[tuple[int, str, bytes | None]]:
    rows = [row for batch in batches for row in batch.rejected.to_pylist()]
    return [(row["row"], row["reason"], row["raw_value"]) for row in rows]


def accepted(batches: Sequence[RowBatch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.accepted.to_pylist()]


def written(path: Path, content: bytes, columns: Columns = COLUMNS) -> Inputs:
    path.write_bytes(content)
    return inspect_inputs([str(path)], columns, rows_per_shard=100)


@pytest.mark.parametrize("name", WRITERS)
@settings(deadline=None)  # it writes and reads files
@given(rows=texts, rows_per_shard=st.integers(1, 8), max_rows=st.integers(1, 8), max_bytes=st.integers(1, 99))
def test_every_row_comes_back_once(
    name: str, rows: list[str], rows_per_shard: int, max_rows: int, max_bytes: int
):
    if name == "a.tsv":
        rows = [row.replace("\t", "").replace("\n", "") for row in rows]
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(record_splitter, "READ_BLOCK_BYTES", 16):
        path = Path(folder) / name
        path.write_bytes(WRITERS[name](rows))
        inputs = inspect_inputs([str(path)], COLUMNS, rows_per_shard=rows_per_shard)
        batches = read(inputs, max_rows=max_rows, max_bytes=max_bytes)
    found = {row: text.decode() for row, _, text in rejected(batches) if text is not None}
    assert not any(text.strip() for text in found.values())
    found |= {row["row"]: row[schema.INPUT_TEXT] for row in accepted(batches)}
    assert [found[row] for row in range(len(rows))] == rows
    assert len(found) == len(rows) == sum(b.accepted.num_rows + b.rejected.num_rows for b in batches)
    assert all(str(row["row"]) == row["id"] for row in accepted(batches))
    assert all(0 < b.accepted.num_rows + b.rejected.num_rows <= max_rows for b in batches)
    if not name.endswith(".gz"):
        assert inputs.plan().num_rows == inputs.num_rows == len(rows)
        assert all(item.rows.num_rows <= rows_per_shard for item in inputs.plan().items)


def test_a_file_of_the_job_is_described(tmp_path: Path):
    for name in WRITERS:
        (tmp_path / name).write_bytes(WRITERS[name](["a", "b", "c"]))
    columns = Columns(text="t", id="k", keep=("k",))
    inputs = inspect_inputs([str(tmp_path)], columns, rows_per_shard=2)
    assert [Path(source.path).name for source in inputs.sources] == sorted(WRITERS)
    assert [len(source.ranges) for source in inputs.sources] == [2, 1, 2, 1, 2, 2]
    assert [source.size for source in inputs.sources] == [
        (tmp_path / name).stat().st_size for name in sorted(WRITERS)
    ]
    assert len({source.checksum for source in inputs.sources}) == len(WRITERS)
    assert inputs.options.id_type == pa.string()
    assert inputs.options.kept == (pa.field("k", pa.string()),)
    assert inputs == inspect_inputs([str(tmp_path / "*")], columns, rows_per_shard=2)
    assert inputs.plan().num_rows is inputs.num_rows is None
    assert [row[schema.INPUT_TEXT] for row in accepted(read(inputs))] == ["a", "b", "c"] * 6


def test_pairs_ids_and_kept_columns_keep_their_types(tmp_path: Path):
    table = pa.table(
        {
            "k": pa.array([7, 8], type=pa.int16()),
            "t": ["a", "b"],
            "p": [b"c", b"\xff"],
            "tags": pa.array([["x"], None]),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    columns = Columns(text="t", text_pair="p", id="k", keep=("tags", "kind"))
    inputs = inspect_inputs([str(tmp_path)], columns, rows_per_shard=100)
    assert inputs.options.id_type == pa.int16()
    assert inputs.options.kept == (pa.field("tags", pa.list_(pa.string())), table.schema.field("kind"))
    (batch,) = read(inputs)
    assert batch.accepted.to_pylist() == [
        {"row": 0, schema.INPUT_TEXT: "a", schema.INPUT_TEXT_PAIR: "c", "id": 7, "tags": ["x"], "kind": "x"}
    ]
    assert rejected([batch]) == [(1, "undecodable", b"\xff")]


def test_a_text_that_is_kept_keeps_its_type(tmp_path: Path):
    values = pa.array(["a", "b", None, "a"]).dictionary_encode()
    pq.write_table(pa.table({"t": values}), tmp_path / "a.parquet")
    (batch,) = read(inspect_inputs([str(tmp_path)], Columns(text="t", keep=("t",)), rows_per_shard=9))
    assert batch.accepted["t"].type == values.type
    assert batch.accepted["t"].to_pylist() == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("view", "kind"), [(pa.string_view(), pa.string()), (pa.binary_view(), pa.binary())], ids=str
)
def test_views_are_kept_as_what_they_show(tmp_path: Path, view: pa.DataType, kind: pa.DataType):
    values = pa.array(["a", "b", None], view)
    pq.write_table(pa.table({"t": ["x", None, "y"], "k": values}), tmp_path / "a.parquet")
    inputs = inspect_inputs([str(tmp_path)], Columns(text="t", keep=("k",)), rows_per_shard=9)
    (batch,) = read(inputs)
    assert batch.accepted["k"].combine_chunks() == pa.array(["a", None], kind)
    assert rejected([batch]) == [(1, "null", None)]


def test_a_type_of_which_arrow_cannot_leave_rows_out_is_an_error(tmp_path: Path):
    kind = pa.list_(pa.string_view())
    pq.write_table(pa.table({"t": ["x"], "k": pa.array([["a"]], kind)}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet: column 'k' holds list<.*>, which cannot be passed"):
        inspect_inputs([str(tmp_path)], Columns(text="t", keep=("k",)), rows_per_shard=9)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("group", ["k", "t"])
def test_a_group_may_be_any_column_and_comes_beside_it(tmp_path: Path, name: str, group: str):
    columns = Columns(text="t", id="k", keep=("k",), group=group)
    inputs = written(tmp_path / name, WRITERS[name](["a", "b", "a"]), columns)
    assert inputs.options.group_type == pa.string()
    (batch,) = read(inputs)
    rows = accepted([batch])
    assert [row[schema.GROUP] for row in rows] == (["0", "1", "2"] if group == "k" else ["a", "b", "a"])
    assert [(row["id"], row["k"]) for row in rows] == [("0", "0"), ("1", "1"), ("2", "2")]


def test_a_group_that_cannot_be_read_rejects_its_row(tmp_path: Path):
    columns = Columns(text="t", group="k")
    batches = read(written(tmp_path / "a.tsv", b"t\tk\na\t1\nb\t\xff\nc\t\n", columns))
    assert [row[schema.GROUP] for row in accepted(batches)] == ["1", ""]
    assert rejected(batches) == [(1, "undecodable", b"\xff")]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_a_huge_row_is_a_batch_by_itself(tmp_path: Path, name: str):
    huge = "huge " * 1_000_000
    inputs = written(tmp_path / name, WRITERS[name](["a", huge, "b"]))
    batches = read(inputs, max_bytes=1000)
    assert [batch.accepted.num_rows for batch in batches] == [1, 1, 1]
    assert batches[1].accepted.column(schema.INPUT_TEXT).to_pylist() == [huge]


def test_lines_that_are_no_rows_of_a_tsv(tmp_path: Path):
    content = b'\xef\xbb\xbft\tk\r\n"a\t1\r\n\r\n\xff\t2\nb\nc\t3\t\nd\t\xff\n \t4\ne\t5'
    batches = read(written(tmp_path / "a.tsv", content))
    assert [(row["row"], row[schema.INPUT_TEXT], row["id"]) for row in accepted(batches)] == [
        (0, '"a', "1"),
        (7, "e", "5"),
    ]
    assert rejected(batches) == [
        (1, "empty", b""),
        (2, "undecodable", b"\xff"),
        (3, "malformed", b"b"),
        (4, "malformed", b"c\t3\t"),
        (5, "undecodable", b"\xff"),
        (6, "empty", b" "),
    ]


def test_lines_that_are_no_rows_of_a_csv(tmp_path: Path):
    content = b't,k\n"a\n""b""",1\n\n"x"y,2\n5" pipe,3\n"",4\nc\nd,"5'
    batches = read(written(tmp_path / "a.csv", content))
    assert [(row["row"], row[schema.INPUT_TEXT]) for row in accepted(batches)] == [
        (0, 'a\n"b"'),
        (3, '5" pipe'),
    ]
    assert rejected(batches) == [
        (1, "empty", b""),
        (2, "malformed", b'"x"y,2'),
        (4, "empty", b""),
        (5, "malformed", b"c"),
        (6, "malformed", b'd,"5'),
    ]


def test_lines_that_are_no_rows_of_a_jsonl(tmp_path: Path):
    late = b'{"t": "a", "k": 1}\n' * 1000
    content = late + b'{"t": "b", "k": "x"}\n{"k": 2}\n{"t": 3}\n\nnull\n{"t": "c"}'
    batches = read(written(tmp_path / "a.jsonl", content))
    assert accepted(batches)[1000:] == [{"row": 1005, schema.INPUT_TEXT: "c", "id": None}]
    assert rejected(batches) == [
        (1000, "wrong_type", b"x"),
        (1001, "null", None),
        (1002, "not_a_string", b"3"),
        (1003, "empty", b""),
        (1004, "malformed", b"null"),
    ]


def test_a_column_of_nulls_rejects_every_row(tmp_path: Path):
    pq.write_table(pa.table({"t": pa.nulls(3), "k": pa.nulls(3)}), tmp_path / "a.parquet")
    inputs = inspect_inputs([str(tmp_path)], COLUMNS, rows_per_shard=2)
    assert inputs.options.id_type == pa.string()
    assert rejected(read(inputs)) == [(0, "null", None), (1, "null", None), (2, "null", None)]


def jsonl_of(*ids: Any) -> bytes:
    return "".join(json.dumps({"t": "a", "k": value}) + "\n" for value in ids).encode()


@pytest.mark.parametrize(
    ("one", "two", "kind"),
    [
        ([1], [2], pa.int64()),
        ([1], [2.5], pa.float64()),
        ([2.5], [1], pa.float64()),
        ([None], [True], pa.bool_()),
        ([], ["a"], pa.string()),
        ([None], [], pa.string()),
    ],
)
def test_the_id_type_is_that_of_all_files(tmp_path: Path, one: list[Any], two: list[Any], kind: pa.DataType):
    (tmp_path / "1.jsonl").write_bytes(jsonl_of(*one))
    (tmp_path / "2.jsonl").write_bytes(jsonl_of(*two))
    inputs = inspect_inputs([str(tmp_path)], COLUMNS, rows_per_shard=2)
    assert inputs.options.id_type == kind
    assert [row["id"] for row in accepted(read(inputs))] == [*one, *two]


def test_files_whose_types_differ_are_named(tmp_path: Path):
    (tmp_path / "1.jsonl").write_bytes(jsonl_of(1))
    (tmp_path / "2.csv").write_bytes(as_csv(["a"]))
    with pytest.raises(InputError) as error:
        inspect_inputs([str(tmp_path)], COLUMNS, rows_per_shard=2)
    assert str(error.value) == (
        f"{tmp_path}/2.csv: column 'k' holds string, but int64 in {tmp_path}/1.jsonl: make them equal"
    )


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_a_missing_column_is_named_before_the_job_starts(tmp_path: Path, name: str):
    with pytest.raises(
        InputError, match=rf"{name}: no column 'tt' \(did you mean 't'\?\); its columns: [tk], [tk]$"
    ):
        written(tmp_path / name, WRITERS[name](["a"]), Columns(text="tt"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b""),
        ("a.parquet", b"t\nabc\n"),
        ("a.csv.gz", b"t,k\nnot gzip,1\n"),
        ("a.csv.gz", gzip.compress(b"t,k", mtime=0)[:-4]),
        ("a.tsv", "t\tk".encode("utf-16")),
    ],
)
def test_an_unreadable_file_is_named_before_the_job_starts(tmp_path: Path, name: str, content: bytes):
    with pytest.raises(InputError, match=rf"^{tmp_path}/{name}: (cannot be read: |the header is not)[^\n]+$"):
        written(tmp_path / name, content)


def test_a_compressed_file_that_breaks_off_is_an_error_when_it_is_read(tmp_path: Path):
    rows = [str(hash(str(index))) for index in range(200_000)]
    inputs = written(tmp_path / "a.csv.gz", gzip.compress(as_csv(rows))[:-1000])
    with pytest.raises(InputError, match=r"a.csv.gz: cannot be read: Compressed file ended"):
        read(inputs)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_file_that_changed_after_planning_is_an_error(tmp_path: Path, name: str):
    inputs = written(tmp_path / name, WRITERS[name](["a", "b"]))
    (tmp_path / name).write_bytes(WRITERS[name](["a"]))
    with pytest.raises(InputError, match=rf"{name}: changed since the job was planned"):
        read(inputs)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: cannot be read: No such file"):
        read(inputs)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_another_of_its_size_replaces_as_it_is_read_is_an_error(tmp_path: Path, name: str):
    path = tmp_path / name
    inputs = written(path, WRITERS[name](["a", "b", "c"]))
    (work,) = inputs.plan().items
    batches = read_item(work, inputs.options, max_rows=1, max_bytes=10**6)
    next(batches)
    os.utime(path, ns=(0, 0))  # as if it had been written to
    with pytest.raises(InputError, match=rf"{name}: changed since the job was planned: start the job afresh"):
        list(batches)


def test_files_of_a_store_are_read_and_watched(store: dict[str, bytes]):
    for name in WRITERS:
        store[f"teststore://bucket/in/{name}"] = WRITERS[name](["a", "b"])
    inputs = inspect_inputs(["teststore://bucket/in"], COLUMNS, rows_per_shard=100)
    assert [row[schema.INPUT_TEXT] for row in accepted(read(inputs))] == ["a", "b"] * len(WRITERS)
    for name in WRITERS:
        store[f"teststore://bucket/in/{name}"] = WRITERS[name](["a", "c"])
    with pytest.raises(InputError, match=r"a.csv: changed since the job was planned"):
        read(inputs)


def test_a_shard_has_at_least_one_row(tmp_path: Path):
    with pytest.raises(ParameterError, match=r"`rows_per_shard` 0: must be at least 1"):
        inspect_inputs([str(tmp_path)], COLUMNS, rows_per_shard=0)


def test_read_options_are_equal_keys_wherever_they_come_from(tmp_path: Path):
    pq.write_table(pa.table({"t": ["a"], "k": [1], "more": [0.5]}), tmp_path / "a.parquet")

    def options() -> ReadOptions:
        columns = Columns(text="t", id="k", keep=("more",))
        return inspect_inputs([str(tmp_path)], columns, rows_per_shard=7).options

    one, two = options(), pickle.loads(pickle.dumps(options()))
    assert (one.columns.texts, one.rows_per_shard) == (("t",), 7)
    assert one == two
    assert hash(one) == hash(two)
