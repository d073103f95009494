import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.answers.task import Task
from model.errors import InputError
from model.training.labelled_texts import LabelledTexts
from pipeline.reading.inputs import Columns, inspect_inputs
from pipeline.reading.labelled_texts import as_text, read_labelled_texts, read_rows
from tests.job_fixtures import WRITERS, write_jsonl, write_parquet

COLUMNS = Columns(text="t", keep=("y",))


def read(path: Path, columns: Columns = COLUMNS) -> LabelledTexts:
    return read_labelled_texts([str(path)], columns, label_column="y")


@pytest.mark.parametrize("name", WRITERS)
def test_rows_come_with_their_labels_in_every_format(tmp_path: Path, name: str):
    texts, labels = [f"text {i}" for i in range(30)], [f"label {i % 4}" for i in range(30)]
    WRITERS[name](tmp_path / name, {"t": texts, "y": labels})
    rows = read(tmp_path / name)
    assert (rows.texts, rows.labels, rows.text_pairs, rows.num_rejected) == (texts, labels, None, 0)
    assert len(rows) == 30


def test_pairs(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", {"t": ["a", "b"], "p": ["c", "d"], "y": ["x", "y"]})
    rows = read(path, Columns(text="t", text_pair="p", keep=("y",)))
    assert (rows.texts, rows.text_pairs) == (["a", "b"], ["c", "d"])


def test_a_row_without_text_or_label_is_left_out_and_counted(tmp_path: Path):
    path = write_parquet(
        tmp_path / "a.parquet", {"t": ["a", None, " ", "d", "e"], "y": ["x", "x", "x", None, ""]}
    )
    rows = read(path)
    assert (rows.texts, rows.labels, rows.num_rejected) == (["a"], ["x"], 4)


def test_several_files_are_read_in_order(tmp_path: Path):
    for name in ("b", "a"):
        write_jsonl(tmp_path / f"{name}.jsonl", {"t": [name], "y": [name]})
    assert read(tmp_path).texts == ["a", "b"]


@pytest.mark.parametrize("rows", [{"t": [""], "y": ["x"]}, {"t": ["a"], "y": [""]}])
def test_no_labelled_row_at_all_is_an_error(tmp_path: Path, rows: dict[str, list[str]]):
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError, match=rf"no row of {path} has both a text and a 'y'"):
        read(path)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None, -2], pa.int8()), ["1", None, "-2"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["a", ""]), ["a", None]),
        (pa.array(["a", "b", None]).dictionary_encode(), ["a", "b", None]),
        (pa.array(["a"]).cast(pa.large_string()), ["a"]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_labels_of_any_plain_type_read_as_text(values: pa.Array, expected: list[Any]):
    assert as_text(pa.chunked_array([values])).to_pylist() == expected


def test_labels_that_do_not_read_as_text_are_an_error(tmp_path: Path):
    path = write_parquet(tmp_path / "a.parquet", {"t": ["a"], "y": [["x"]]})
    with pytest.raises(InputError, match=r"labels of type list<.*> do not read as text"):
        read(path)


@pytest.mark.parametrize("name", ["id", "text", "source", "label", "t"])
def test_a_label_column_may_have_any_other_name(tmp_path: Path, name: str):
    path = write_jsonl(tmp_path / "a.jsonl", {"t": ["a", "b"], name: ["x", "y"]})
    rows = read_labelled_texts([str(path)], Columns(text="t", keep=(name,)), label_column=name)
    assert (rows.texts, rows.labels) == (["x", "y"] if name == "t" else ["a", "b"], ["x", "y"])


def test_labels_are_read_without_a_text_column(tmp_path: Path):
    table = pa.table({"y": list(range(100)), "other": [None] * 100})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30)
    inputs = inspect_inputs([str(tmp_path)], Columns(keep=("y",)), rows_per_shard=40)
    rows = [(path, *row.values()) for path, table, _ in read_rows(inputs) for row in table.to_pylist()]
    assert rows == [(str(tmp_path / "a.parquet"), number, number) for number in range(100)]


def read_as(task: Task, path: Path, separator: str = ",") -> LabelledTexts:
    return read_labelled_texts([str(path)], COLUMNS, label_column="y", task=task, separator=separator)


@pytest.mark.parametrize("name", WRITERS)
def test_numbers_are_read_in_every_format(tmp_path: Path, name: str):
    numbers = ["0.5", "-2", "1e3", ""]
    WRITERS[name](tmp_path / name, {"t": ["a", "b", "c", "d"], "y": numbers})
    rows = read_as(Task.SCORE, tmp_path / name)
    assert (rows.texts, rows.labels, rows.num_rejected) == (["a", "b", "c"], [0.5, -2.0, 1000.0], 1)


def test_numbers_may_be_of_any_type_that_holds_some(tmp_path: Path):
    for number, values in enumerate(([1, 2], [1.0, None], [Decimal("1.5"), Decimal(2)])):
        path = write_parquet(tmp_path / f"{number}.parquet", {"t": ["a", "b"], "y": values})
        assert read_as(Task.SCORE, path).labels == [float(each) for each in values if each is not None]
    path = write_parquet(tmp_path / "bool.parquet", {"t": ["a"], "y": [True]})
    with pytest.raises(InputError, match="column 'y' holds bool, no numbers"):
        read_as(Task.SCORE, path)


def test_label_sets_are_read_from_lists_and_from_text(tmp_path: Path):
    expected = [("x", "y"), (), ("z",)]
    lists: list[list[str] | None] = [["x", "y", "x"], [], ["z"], None]
    texts = ["a", "b", "c", "d"]
    for write, name in ((write_jsonl, "a.jsonl"), (write_parquet, "a.parquet")):
        rows = read_as(Task.LABEL_SET, write(tmp_path / name, {"t": texts, "y": lists}))
        assert (rows.texts, rows.labels, rows.num_rejected) == (["a", "b", "c"], expected, 1)
    path = write_jsonl(tmp_path / "b.jsonl", {"t": texts, "y": ["x; y", " ", "z", None]})
    rows = read_as(Task.LABEL_SET, path, separator=";")
    assert (rows.labels, rows.num_rejected) == (expected, 1)


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        (Task.SCORE, ["1", "nan"], "row 1: column 'y' holds 'nan', which is no finite number"),
        (Task.LABEL_SET, [["x"], [""]], r"row 1: column 'y' holds an empty label: \[''\]"),
        (Task.LABEL_SET, [["x"], [None]], "row 1: column 'y' holds an empty label"),
    ],
)
def test_a_label_that_is_not_of_the_task_is_named(
    tmp_path: Path, task: Task, values: list[Any], message: str
):
    path = write_parquet(tmp_path / "a.parquet", {"t": ["a", "b"], "y": values})
    with pytest.raises(InputError, match=f"{path}: {message}"):
        read_as(task, path)


def test_a_label_of_another_type_far_down_a_file_is_named(tmp_path: Path):
    lines = [json.dumps({"t": "a", "y": 1.5})] * 1100 + [json.dumps({"t": "b", "y": "much"})]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match="row 1100: column 'y' holds much, which is of another type"):
        read_as(Task.SCORE, tmp_path / "a.jsonl")
