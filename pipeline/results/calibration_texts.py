"""The rows of soft labels that calibration is made with."""

import heapq
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model.guarantee.unit import Unit
from pipeline.contract import schema
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.unit_hashes import place_hashes

_PLACE = [schema.SOURCE, schema.ROW]


@dataclass(frozen=True, kw_only=True)
class CalibrationTexts:
    """One row of each unit, in the order of the units' hashes.

    Attributes:
        rows: `source`, `row` and `SoftLabels.text_columns`. Those of the train split are the ones by which
            training judges the branches.
        num_in_split: units of the calibration split, of which `rows` may hold a part.
        on_both_sides: hashes of the texts of the calibration split that stand in the train split too. Where
            units are rows such texts calibrate all the same, where they are groups none of them does, and
            where they are texts there are none.
    """

    rows: pa.Table
    num_in_split: int
    on_both_sides: frozenset[bytes] = frozenset()

    @property
    def is_held_out(self) -> npt.NDArray[np.bool_]:
        """(rows,) whether training judges the branches by a row."""
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
    """Return the rows to calibrate with.

    Of equal texts it is the first row of the first shard; of a group the row whose place has the smallest
    hash, which is one drawn at random.

    Args:
        labels: finished soft labels.
        max_rows: most rows of the calibration split; those of the units with the smallest hashes.
    """
    on_both_sides = _texts_on_both_sides(labels)
    in_split = _speakers(_calibration_split(labels), labels.unit, without=on_both_sides)
    held_out = _speakers(labels.read_train_split(columns=_PLACE, held_out=True), labels.unit)
    wanted = heapq.nsmallest(max_rows, in_split.items())
    # A unit may be of either split where several outputs have shares of their own.
    missing = {(schema.CALIBRATION_SPLIT, *each) for each in wanted}
    missing |= {(schema.TRAIN_SPLIT, *each) for each in held_out.items()}
    parts = []
    for batch in labels.read_shards(columns=[schema.SOURCE, schema.ROW, *labels.text_columns]):
        rows, splits = [], batch[schema.SPLIT].to_pylist()
        for row, each in enumerate(zip(splits, *_units(batch, labels.unit), strict=True)):
            if each in missing:
                missing.remove(each)
                rows.append(row)
        parts.append(batch.take(pa.array(rows, pa.int64())))
    table = pa.Table.from_batches(parts)
    order = np.argsort(np.array(table[schema.UNIT_HASH].to_pylist(), dtype=object), kind="stable")
    return CalibrationTexts(
        rows=table.take(pa.array(order)), num_in_split=len(in_split), on_both_sides=on_both_sides
    )


def _texts_on_both_sides(labels: SoftLabels) -> frozenset[bytes]:
    """Return the hashes of the texts of the calibration split that branches learn from or are judged by."""
    if labels.unit is Unit.TEXTS:
        return frozenset()
    in_split: set[bytes] = set()
    for batch in _calibration_split(labels):
        in_split.update(batch[schema.TEXT_HASH].to_pylist())
    in_train = chain(labels.train_hashes(), labels.held_out_hashes())
    return frozenset(text_hash for text_hash in in_train if text_hash in in_split)


def _calibration_split(labels: SoftLabels) -> Iterator[pa.RecordBatch]:
    columns = [schema.SPLIT, schema.TEXT_HASH, schema.UNIT_HASH, *_PLACE]
    for batch in labels.read_shards(columns=columns):
        yield batch.filter(pc.field(schema.SPLIT) == schema.CALIBRATION_SPLIT)


def _speakers(
    batches: Iterable[pa.RecordBatch], unit: Unit, *, without: Set[bytes] = frozenset()
) -> dict[bytes, bytes]:
    """Return which row speaks for each unit, from `_units`.

    Args:
        batches: rows.
        unit: of what.
        without: hashes of texts that speak for no group.
    """
    speakers: dict[bytes, bytes] = {}
    for batch in batches:
        if unit is Unit.GROUPS and without:
            values = pa.array(without, pa.binary(schema.TEXT_HASH_BYTES))
            batch = batch.filter(pc.invert(pc.is_in(batch[schema.TEXT_HASH], value_set=values)))
        for each, speaker in zip(*_units(batch, unit), strict=True):
            speakers[each] = min(speaker, speakers.get(each, speaker))
    return speakers


def _units(batch: pa.RecordBatch, unit: Unit) -> tuple[list[bytes], list[bytes]]:
    """Return the unit of each row, and what tells the row from others of the unit, where that matters."""
    units = batch[schema.UNIT_HASH].to_pylist()
    if unit is not Unit.GROUPS:
        return units, units
    return units, place_hashes(batch[schema.SOURCE].to_pylist(), batch[schema.ROW].to_pylist())
