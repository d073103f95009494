"""Calibration rows: what every exit answers to texts that training never saw, and their Parquet form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contract import schema
from pipeline.contract.arrays import fixed_size_list

# Every second row, since they stand in the order of their hashes.
SEARCH, TEST = slice(0, None, 2), slice(1, None, 2)
_HALVES = (schema.SEARCH_HALF, schema.TEST_HALF)


@dataclass(frozen=True, kw_only=True)
class CalibrationRows:
    """Calibration rows, distinct texts in the order of their hashes.

    Every second row is for the search, the others test what it finds; so both halves are drawn by hash.

    Attributes:
        sources: (rows,) input file of each.
        rows: (rows,) int64, its row there.
        num_tokens: (rows,) int64.
        teacher_labels: (rows,) int64 label ids from the soft labels.
        logits: (rows, num_layers, num_labels) float32 of every exit, as they come.
        uncertainty: (rows, num_layers) float32 of every exit, its temperature applied.
    """

    sources: list[str]
    rows: npt.NDArray[np.int64]
    num_tokens: npt.NDArray[np.int64]
    teacher_labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_wrong(self) -> npt.NDArray[np.bool_]:
        """(rows, num_layers) whether an exit's label is not the teacher's."""
        wrong: npt.NDArray[np.bool_] = self.logits.argmax(axis=2) != self.teacher_labels[:, None]
        return wrong

    def as_table(self, labels: tuple[str, ...]) -> pa.Table:
        """Return the rows as they are written."""
        num_layers, num_labels = self.logits.shape[1:]
        names = pa.array(labels)
        logits = fixed_size_list(self.logits.reshape(-1, num_labels))
        exits = names.take(pa.array(self.logits.argmax(axis=2).ravel()))
        columns = {
            schema.SOURCE: pa.array(self.sources).dictionary_encode(),
            schema.ROW: pa.array(self.rows),
            schema.HALF: pa.array([_HALVES[row % 2] for row in range(len(self))]),
            schema.NUM_TOKENS: pa.array(self.num_tokens.astype(np.int32)),
            schema.TEACHER_PREDICTION: names.take(pa.array(self.teacher_labels)),
            schema.EXIT_PREDICTIONS: pa.FixedSizeListArray.from_arrays(exits, num_layers),
            schema.EXIT_UNCERTAINTY: fixed_size_list(self.uncertainty),
            schema.EXIT_LOGITS: pa.FixedSizeListArray.from_arrays(logits, num_layers),
        }
        wanted = schema.calibration_schema(num_labels=num_labels, num_layers=num_layers)
        return pa.table([columns[name] for name in wanted.names], schema=wanted)

    @classmethod
    def from_table(cls, table: pa.Table, labels: tuple[str, ...]) -> CalibrationRows:
        """Return the rows that `as_table` made."""
        num_rows, num_labels = len(table), len(labels)
        places = {label: index for index, label in enumerate(labels)}
        return cls(
            sources=table[schema.SOURCE].to_pylist(),
            rows=table[schema.ROW].to_numpy(),
            num_tokens=table[schema.NUM_TOKENS].to_numpy().astype(np.int64),
            teacher_labels=np.array(
                [places[label] for label in table[schema.TEACHER_PREDICTION].to_pylist()], dtype=np.int64
            ),
            logits=_flat(table[schema.EXIT_LOGITS]).reshape(num_rows, -1, num_labels),
            uncertainty=_flat(table[schema.EXIT_UNCERTAINTY]).reshape(num_rows, -1),
        )


def _flat(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    values = column.combine_chunks()
    while pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    flat: npt.NDArray[np.float32] = values.to_numpy()
    return flat
