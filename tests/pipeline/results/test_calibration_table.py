import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.guarantee.calibration_split import search_rows
from model.guarantee.exit_calibration import ExitCalibration
from pipeline.contract import schema
from pipeline.results.calibration_table import (
    calibration_table,
    float_array,
    held_out_flags,
)
from tests.model.exit_populations import LAYERS, exit_calibration


@pytest.fixture(scope="module")
def exits() -> ExitCalibration:
    return exit_calibration(num_rows=51, held_out=0.2)


@pytest.fixture(scope="module")
def table(exits: ExitCalibration) -> pa.Table:
    return calibration_table(exits, [f"{row % 2}.tsv" for row in range(51)], np.arange(100, 151))


def test_a_row_is_what_every_exit_answers_to_it(exits: ExitCalibration, table: pa.Table):
    assert table.schema.equals(schema.calibration_schema(num_labels=3, num_outputs=3, num_exits=LAYERS))
    assert table["source"].to_pylist() == [f"{row % 2}.tsv" for row in range(51)]
    assert table["row"].to_pylist() == list(range(100, 151))
    assert table["num_tokens"].to_pylist() == exits.num_tokens.tolist()
    assert table["teacher_logits"].to_pylist() == exits.teacher_logits.tolist()
    assert table["exit_logits"].to_pylist() == exits.logits.tolist()
    assert table["exit_uncertainty"].to_pylist() == exits.uncertainty.tolist()
    agrees = exits.logits.argmax(axis=2) == exits.teacher_logits.argmax(axis=1)[:, None]
    assert table["exit_agrees"].to_pylist() == agrees.tolist()


def test_what_was_put_in_comes_out(exits: ExitCalibration, table: pa.Table):
    assert float_array(table["teacher_logits"]).tolist() == exits.teacher_logits.ravel().tolist()
    assert float_array(table["exit_logits"]).tolist() == exits.logits.ravel().tolist()
    assert float_array(table["exit_uncertainty"]).tolist() == exits.uncertainty.ravel().tolist()
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7)])
    assert float_array(chunked["exit_logits"]).tolist() == exits.logits.ravel().tolist()
    assert float_array(table.slice(0, 0)["teacher_logits"]).tolist() == []


def test_a_row_says_what_it_was_used_for(exits: ExitCalibration, table: pa.Table):
    assert np.array_equal(np.array(table["used_for"].to_pylist()) == "search", exits.is_search)
    assert set(table["used_for"].to_pylist()) == {"search", "test"}
    assert np.array_equal(np.array(table["split"].to_pylist()) == "train", exits.is_held_out)
    assert set(table["split"].to_pylist()) == {"train", "calibration"}
    assert held_out_flags(table).tolist() == exits.is_held_out.tolist()


@given(st.sets(st.integers(0, 50), min_size=1))
def test_rows_that_were_left_out_show_where_others_are_used_for_something_else(
    exits: ExitCalibration, table: pa.Table, left_out: set[int]
):
    left = [row for row in range(51) if row not in left_out]
    rows = table.take(pa.array(left, pa.int64()))
    if np.array_equal(search_rows(exits.is_held_out[left]), exits.is_search[left]):
        assert held_out_flags(rows).tolist() == exits.is_held_out[left].tolist()
    else:
        with pytest.raises(ValueError, match="filtered or sorted"):
            held_out_flags(rows)


@pytest.mark.parametrize("column", ["used_for", "num_tokens", "row"])
def test_rows_that_were_sorted_show(table: pa.Table, column: str):
    with pytest.raises(ValueError, match="filtered or sorted"):
        held_out_flags(table.sort_by([(column, "descending")]))
