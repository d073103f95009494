"""Calibration rows as a Parquet table: every exit's answer to each, and what it was used for."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.guarantee.calibration_split import search_rows
from model.guarantee.exit_calibration import ExitCalibration
from pipeline.contract import schema
from pipeline.contract.arrays import fixed_size_list
from pipeline.results.calibration_texts import train_split_flags


def calibration_table(
    exits: ExitCalibration, sources: Sequence[str], row_numbers: npt.NDArray[np.int64]
) -> pa.Table:
    """Return calibration rows as they are written.

    Args:
        exits: what they were calibrated with.
        sources: (rows,) input file of each.
        row_numbers: (rows,) its row there.
    """
    num_exits, num_outputs = exits.logits.shape[1:]
    logits = fixed_size_list(exits.logits.reshape(-1, num_outputs))
    agrees = pa.array(~exits.flops_outcomes.disagrees.ravel())
    columns = {
        schema.SOURCE: pa.array(sources).dictionary_encode(),
        schema.ROW: pa.array(row_numbers),
        schema.SPLIT: _names(exits.is_held_out, schema.TRAIN_SPLIT, schema.CALIBRATION_SPLIT),
        schema.USED_FOR: _names(exits.is_search, schema.SEARCH, schema.TEST),
        schema.NUM_TOKENS: pa.array(exits.num_tokens.astype(np.int32)),
        schema.NUM_UNKNOWN_TOKENS: pa.array(exits.num_unknown.astype(np.int32)),
        schema.TEACHER_LOGITS: fixed_size_list(exits.teacher_logits),
        schema.EXIT_AGREES: pa.FixedSizeListArray.from_arrays(agrees, num_exits),
        schema.EXIT_UNCERTAINTY: fixed_size_list(exits.uncertainty),
        schema.EXIT_LOGITS: pa.FixedSizeListArray.from_arrays(logits, num_exits),
    }
    table_schema = schema.calibration_schema(
        num_labels=len(exits.labels), num_outputs=num_outputs, num_exits=num_exits
    )
    return pa.table([columns[name] for name in table_schema.names], schema=table_schema)


def _names(flags: npt.NDArray[np.bool_], yes: str, no: str) -> pa.Array:
    return pa.array(np.where(flags, yes, no))


def held_out_flags(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Return (rows,) which texts training judged the branches by.

    Raises:
        ValueError: if the rows are not as they were written. What each is used for is told by its place; a
            table that was filtered or sorted would swap rows that search and rows that test unseen.
    """
    is_held_out = train_split_flags(table)
    used_for = _names(search_rows(is_held_out), schema.SEARCH, schema.TEST)
    if used_for.to_pylist() != table[schema.USED_FOR].to_pylist():
        raise ValueError("its rows were filtered or sorted")
    return is_held_out


def float_array(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """Return the floats of a column of nested fixed-size lists, one after another."""
    values = column.combine_chunks()
    while pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    # Arrow's own memory cannot be written to, and torch takes none such.
    flat: npt.NDArray[np.float32] = values.to_numpy().copy()
    return flat
