"""The texts of soft labels that calibration is made with."""

import heapq

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contract import schema
from pipeline.results.soft_labels import SoftLabels


def calibration_texts(labels: SoftLabels, max_rows: int) -> tuple[pa.Table, int]:
    """Return the calibration split's distinct texts in the order of their hashes, and how many there are.

    Args:
        labels: finished soft labels.
        max_rows: most texts to return; those with the smallest hashes.

    Returns:
        A table of `source`, `row` and `SoftLabels.text_columns`; of equal texts the first row of the first
        shard.
    """
    in_calibration = pc.field(schema.SPLIT) == schema.CALIBRATION_SPLIT
    hashes: set[bytes] = set()
    for batch in labels.read_shards(columns=[schema.SPLIT, schema.TEXT_HASH]):
        hashes.update(batch.filter(in_calibration)[schema.TEXT_HASH].to_pylist())
    parts, missing = [], set(heapq.nsmallest(max_rows, hashes))
    for batch in labels.read_shards(columns=[schema.SOURCE, schema.ROW, *labels.text_columns]):
        rows = []
        for row, text_hash in enumerate(batch[schema.TEXT_HASH].to_pylist()):
            if text_hash in missing:
                missing.remove(text_hash)
                rows.append(row)
        parts.append(batch.take(pa.array(rows, pa.int64())))
    table = pa.Table.from_batches(parts)
    order = np.argsort(np.array(table[schema.TEXT_HASH].to_pylist(), dtype=object), kind="stable")
    return table.take(pa.array(order)), len(hashes)
