"""How many of the texts to calibrate with are near copies of texts to train on."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from pipeline.contract import schema
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.shared_passages import PASSAGE_BYTES, SharedPassages

# Of the text to train on: as much as takes some ten seconds.
_MOST_BYTES = 64 << 20
# Of corpora whose texts are of nobody's making together, parted at random, 2 to 11 % shared a passage; of
# SST-2, which is made of parts of the same sentences, 94 % (docs/performance.md).
_MANY = 0.2


@dataclass(frozen=True, kw_only=True)
class NearCopies:
    """What is known of them.

    Attributes:
        num_shared: texts to calibrate with that share a passage with a text to train on.
        num_told: those that are long enough to tell.
        num_short: those that are not.
        is_complete: whether all texts to train on were looked at; else the first ones were.
    """

    num_shared: int
    num_told: int
    num_short: int
    is_complete: bool

    @property
    def are_many(self) -> bool:
        """Whether there are more than a corpus of texts that have nothing in common would have."""
        return self.num_shared > _MANY * self.num_told

    def describe(self) -> str:
        """Return one line for the user."""
        short = f"; {self.num_short:,} are too short to tell" if self.num_short else ""
        part = "" if self.is_complete else " (of the first ones)"
        return (
            f"{self.num_shared:,} of {self.num_told:,} texts share {PASSAGE_BYTES} bytes in a row with texts "
            f"to train on{part}{short}"
        )


def near_copies(labels: SoftLabels, rows: pa.Table) -> NearCopies:
    """Compare texts to calibrate with and texts to train on.

    Args:
        labels: finished soft labels.
        rows: of their calibration split, with `SoftLabels.text_columns`.
    """
    ours = SharedPassages(*_texts(rows, has_pairs=labels.has_pairs))
    names = [schema.TEXT, schema.TEXT_PAIR][: 1 + labels.has_pairs]
    num_bytes, is_complete = 0, True
    for batch in labels.read_train_split(columns=names, held_out=False):
        ours.add(*_texts(batch, has_pairs=labels.has_pairs))
        num_bytes += sum(batch[name].nbytes for name in names)
        if num_bytes > _MOST_BYTES:
            is_complete = False
            break
    num_told = int(ours.is_told.sum())
    return NearCopies(
        num_shared=int(ours.is_shared.sum()),
        num_told=num_told,
        num_short=len(rows) - num_told,
        is_complete=is_complete,
    )


def _texts(rows: pa.Table | pa.RecordBatch, *, has_pairs: bool) -> tuple[list[str], list[str] | None]:
    return rows[schema.TEXT].to_pylist(), rows[schema.TEXT_PAIR].to_pylist() if has_pairs else None
