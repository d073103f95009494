from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from model.errors import InputError
from model.training.labelled_texts import NO_LABEL
from pipeline.contract.arrays import source_column
from pipeline.results.collected_stats import TrueLabels
from pipeline.results.ground_truth import read_true_labels
from tests.job_fixtures import WRITERS, write_csv, write_jsonl, write_parquet

LABELS = ("bad", "good")


def read(path: Path, *, id_column: str | None = None) -> TrueLabels:
    return read_true_labels([str(path)], label_column="y", id_column=id_column, labels=LABELS).of_rows


def scored(source: Path | str, rows: list[int], ids: list[Any] | pa.Array | None = None) -> pa.RecordBatch:
    columns = {"source": source_column(str(source), len(rows)), "row": pa.array(rows, pa.int64())}
    return pa.RecordBatch.from_pydict(columns if ids is None else {**columns, "id": ids})


@pytest.mark.parametrize("name", WRITERS)
def test_labels_are_joined_on_file_and_row(tmp_path: Path, name: str):
    path = WRITERS[name](tmp_path / name, {"t": ["a", "", "c", "d"], "y": ["good", "bad", "bad", "good"]})
    find = read(path)
    # A row whose text was rejected keeps its number.
    assert find(scored(path, [3, 0, 2])).tolist() == [1, 1, 0]
    assert find(scored(path, [4])).tolist() == [NO_LABEL]
    assert find(scored("other.csv", [0])).tolist() == [NO_LABEL]
    assert find(scored(path, [])).tolist() == []


def test_labels_are_joined_on_the_id(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", {"key": ["x", "y", "z", None], "y": ["good", "bad", "", "bad"]})
    find = read(path, id_column="key")
    assert find(scored("any.csv", [0, 1, 2, 3], ["y", "x", "z", None])).tolist() == [0, 1, NO_LABEL, NO_LABEL]


def test_an_id_with_two_labels_is_an_error(tmp_path: Path):
    path = write_csv(tmp_path / "a.csv", {"key": ["x", "y", "x"], "y": ["good", "bad", "bad"]})
    with pytest.raises(InputError) as error:
        read(path, id_column="key")
    assert str(error.value) == f"{path}: id 'x' has the labels 'good' and 'bad'; give it one of them"
    path = write_csv(tmp_path / "b.csv", {"key": ["x", "y", "x"], "y": ["good", "bad", "good"]})
    assert read(path, id_column="key")(scored("a", [0, 1], ["x", "y"])).tolist() == [1, 0]


def test_ids_are_joined_whatever_type_the_files_give_them(tmp_path: Path):
    path = write_csv(tmp_path / "a.csv", {"key": [7, 8], "y": ["good", "bad"]})
    assert read(path, id_column="key")(scored("a", [0, 1], pa.array([8, 7], pa.int32()))).tolist() == [0, 1]
    path = write_parquet(tmp_path / "a.parquet", {"key": [7, 8], "y": ["good", "bad"]})
    assert read(path, id_column="key")(scored("a", [0, 1], ["8", "7"])).tolist() == [0, 1]
    assert read(path, id_column="key")(scored("a", [0, 1], pa.array([8, 7], pa.int8()))).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["bad", "good", "good"], [0, 1, 1]),
        ([0, 1, 1], [0, 1, 1]),
        (["0", "1", None], [0, 1, NO_LABEL]),
        (["00", "0001", "1"], [0, 1, 1]),
    ],
)
def test_labels_are_names_or_numbers(tmp_path: Path, labels: list[Any], expected: list[int]):
    path = write_parquet(tmp_path / "a.parquet", {"y": labels})
    assert read(path)(scored(path, [0, 1, 2])).tolist() == expected


@pytest.mark.parametrize("strange", [["good", "ugly"], [0, 2], ["1.5"], [-1, 0], ["good", "1"]])
def test_labels_that_are_not_the_models_are_an_error(tmp_path: Path, strange: list[Any]):
    path = write_parquet(tmp_path / "a.parquet", {"y": strange})
    with pytest.raises(InputError, match=r"are none of the model's: bad, good \(or 0 to 1\)"):
        read(path)


def test_a_model_whose_names_are_numbers_goes_by_the_names(tmp_path: Path):
    path = write_parquet(tmp_path / "a.parquet", {"y": [1, 2]})
    find = read_true_labels([str(path)], label_column="y", id_column=None, labels=("2", "1")).of_rows
    assert find(scored(path, [0, 1])).tolist() == [1, 0]


def test_no_rows_no_labels(tmp_path: Path):
    path = write_csv(tmp_path / "a.csv", {"y": []})
    assert read(path)(scored(path, [0])).tolist() == [NO_LABEL]


def test_rows_without_id_or_label_are_counted(tmp_path: Path):
    rows = [
        '{"key": "x", "y": "good"}',
        '{"key": null, "y": "bad"}',
        '{"key": "z", "y": ""}',
        "no JSON",
        '{"key": "w"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    read_labels = partial(read_true_labels, [str(tmp_path / "a.jsonl")], label_column="y", labels=LABELS)
    assert read_labels(id_column="key").num_left_out == 4
    assert read_labels(id_column=None).num_left_out == 3


def test_of_labels_that_are_long_texts_or_numbers_the_beginning_is_told(tmp_path: Path):
    path = write_parquet(tmp_path / "a.parquet", {"y": ["1" * 5000, "0"]})
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"labels '0', '{'1' * 40}...' are none of the model's: bad, good")
