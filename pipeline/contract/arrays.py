"""Columns of the data contract from NumPy arrays."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def source_column(source: str, num_rows: int) -> pa.Array:
    """Return a column that says `source` in every row."""
    indices = pa.array(np.zeros(num_rows, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array([source], type=pa.string()))


def fixed_size_list(values: npt.NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Return (rows, num_labels) float32 as a column of fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def nullable_list(values: npt.NDArray[np.float32], is_null: npt.NDArray[np.bool_]) -> pa.ListArray:
    """Return (rows, num_labels) float32 as a column of lists, null where `is_null`, (rows,)."""
    sizes = np.where(is_null, 0, values.shape[1])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(values[~is_null].ravel()), mask=pa.array(is_null)
    )


def list_of_called(
    calls: npt.NDArray[np.bool_], names: pa.Array, is_null: npt.NDArray[np.bool_]
) -> pa.ListArray:
    """Return which names each row is called as a column of lists.

    Args:
        calls: (rows, K) bool.
        names: (K,).
        is_null: (rows,) bool.
    """
    shown = calls & ~is_null[:, None]
    offsets = np.concatenate([[0], np.cumsum(shown.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), names.take(pa.array(np.nonzero(shown)[1])), mask=pa.array(is_null)
    )
