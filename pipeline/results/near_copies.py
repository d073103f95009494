"""How many of the texts to calibrate with are near copies of texts to train on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from pipeline.contract import schema
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.shared_passages import PASSAGE_BYTES, SharedPassages

# Of the text that was learnt from: as much as takes some ten seconds.
_MOST_BYTES = 256 << 20
# Rows that are compared at once.
_ROWS = 1 << 13
# Of a text's passages. One alone may be a common saying: among 18 MB of film reviews 7 % of others have one,
# twice as many among twice as much, but none a tenth.
_NEAR = 0.1
# Of corpora of unrelated texts, parted at random, 0 to 8 % were near copies; of SST-2, which is made of parts
# of the same sentences, 97 %. Where a share q are, at most 1 / (1 - q) times as many of the others disagree
# as is promised: up to here, a quarter more.
_MANY = 0.2


@dataclass(frozen=True, kw_only=True)
class NearCopies:
    """What is known of them.

    Attributes:
        num_near: texts to calibrate with a tenth of whose passages or more stand in texts learnt from.
        num_told: those that are long enough to tell.
        num_short: those that are not.
        num_compared: rows that were learnt from and looked at.
        is_complete: whether these are all; else they are the first ones.
    """

    num_near: int
    num_told: int
    num_short: int
    num_compared: int
    is_complete: bool

    @property
    def are_many(self) -> bool:
        """Whether there are more than a corpus of texts that have nothing in common would have."""
        return self.num_near > _MANY * self.num_told

    def describe(self) -> str:
        """Return one line for the user."""
        if not self.num_compared:
            return "the branches learnt from other soft labels than these: there is nothing to compare with"
        short = f"; {self.num_short:,} are too short to tell" if self.num_short else ""
        part = "" if self.is_complete else f", the first {self.num_compared:,} rows of them"
        return (
            f"{self.num_near:,} of {self.num_told:,} texts share a tenth or more, in runs of {PASSAGE_BYTES} "
            f"bytes, with texts to train on{part}{short}"
        )


def near_copies(rows: pa.Table, learnt: SoftLabels | None) -> NearCopies:
    """Compare texts to calibrate with and texts that were learnt from.

    Args:
        rows: of the calibration split, with `SoftLabels.text_columns`.
        learnt: whose train split taught the branches; None where it is not at hand.
    """
    columns = [name for name in (schema.TEXT, schema.TEXT_PAIR) if name in rows.column_names]
    ours = SharedPassages(*(rows[name].to_pylist() for name in columns))
    num_compared = num_bytes = 0
    for part in _parts(learnt, columns):
        if num_bytes > _MOST_BYTES:
            is_complete = False
            break
        ours.add(*(part[name].to_pylist() for name in columns))
        num_compared += len(part)
        num_bytes += sum(part[name].nbytes for name in columns)
    else:
        is_complete = True
    is_told = ours.num_passages > 0
    is_near = is_told & (ours.num_shared >= _NEAR * ours.num_passages)
    num_told = int(is_told.sum())
    return NearCopies(
        num_near=int(is_near.sum()),
        num_told=num_told,
        num_short=len(rows) - num_told,
        num_compared=num_compared,
        is_complete=is_complete,
    )


def _parts(learnt: SoftLabels | None, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows to train on, some at a time."""
    for batch in () if learnt is None else learnt.read_train_split(columns=columns, held_out=False):
        for first in range(0, len(batch), _ROWS):
            yield batch.slice(first, _ROWS)
