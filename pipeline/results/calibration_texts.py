"""The texts of soft labels that calibration is made with."""

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contract import schema
from pipeline.results.soft_labels import SoftLabels


@dataclass(frozen=True, kw_only=True)
class CalibrationTexts:
    """Distinct texts, in the order of their hashes.

    Attributes:
        rows: `source`, `row` and `SoftLabels.text_columns`. Those of the train split are the texts by which
            training judges the branches.
        num_in_split: distinct texts of the calibration split, of which `rows` may hold a part.
    """

    rows: pa.Table
    num_in_split: int

    @property
    def is_held_out(self) -> npt.NDArray[np.bool_]:
        """(rows,) whether training judges the branches by a text."""
        return train_split_flags(self.rows)

    @property
    def calibration_rows(self) -> pa.Table:
        """Of `rows`, those of the calibration split."""
        return self.rows.filter(pa.array(~self.is_held_out))


def train_split_flags(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Return (rows,) which rows are of the train split."""
    flags: npt.NDArray[np.bool_] = pc.equal(rows[schema.SPLIT], schema.TRAIN_SPLIT).to_numpy()
    return flags


def calibration_texts(labels: SoftLabels, max_rows: int) -> CalibrationTexts:
    """Return the texts to calibrate with; of equal ones the first row of the first shard.

    Args:
        labels: finished soft labels.
        max_rows: most texts of the calibration split; those with the smallest hashes.
    """
    in_calibration = pc.field(schema.SPLIT) == schema.CALIBRATION_SPLIT
    hashes: set[bytes] = set()
    for batch in labels.read_shards(columns=[schema.SPLIT, schema.TEXT_HASH]):
        hashes.update(batch.filter(in_calibration)[schema.TEXT_HASH].to_pylist())
    # A text may be of either split where several outputs have shares of their own.
    missing = {(schema.CALIBRATION_SPLIT, each) for each in heapq.nsmallest(max_rows, hashes)}
    missing |= {(schema.TRAIN_SPLIT, each) for each in labels.held_out_hashes()}
    parts = []
    for batch in labels.read_shards(columns=[schema.SOURCE, schema.ROW, *labels.text_columns]):
        rows = []
        texts = zip(batch[schema.SPLIT].to_pylist(), batch[schema.TEXT_HASH].to_pylist(), strict=True)
        for row, text in enumerate(texts):
            if text in missing:
                missing.remove(text)
                rows.append(row)
        parts.append(batch.take(pa.array(rows, pa.int64())))
    table = pa.Table.from_batches(parts)
    order = np.argsort(np.array(table[schema.TEXT_HASH].to_pylist(), dtype=object), kind="stable")
    return CalibrationTexts(rows=table.take(pa.array(order)), num_in_split=len(hashes))
