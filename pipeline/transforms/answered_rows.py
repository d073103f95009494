"""Rows of which the model says nothing: its answer is no number, and they are rejected."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contract import schema
from pipeline.reading.row_validation import MAX_RAW_BYTES, RejectReason, rejected_table
from pipeline.sampling.distinct_texts import DistinctTexts


@dataclass(frozen=True, kw_only=True)
class AnsweredRows:
    """Accepted rows, those that have an answer and the others.

    Attributes:
        rows: that have an answer.
        inverse: (rows,) which of the distinct texts each of them holds.
        rejected: the others, as `schema.rejected_schema` says.
    """

    rows: pa.Table
    inverse: npt.NDArray[np.int64]
    rejected: pa.Table

    @classmethod
    def of(
        cls, rows: pa.Table, source: str, distinct: DistinctTexts, is_answered: npt.NDArray[np.bool_]
    ) -> "AnsweredRows":
        """Part rows.

        Args:
            rows: accepted ones.
            source: their file.
            distinct: their texts.
            is_answered: (rows,) bool.
        """
        unanswered = np.flatnonzero(~is_answered)
        texts = rows[schema.INPUT_TEXT].take(pa.array(unanswered)).to_pylist()
        return cls(
            rows=rows.filter(pa.array(is_answered)) if len(unanswered) else rows,
            inverse=distinct.inverse[is_answered],
            rejected=rejected_table(
                source,
                rows[schema.ROW].to_numpy()[unanswered],
                [(RejectReason.NOT_FINITE, text.encode()[:MAX_RAW_BYTES]) for text in texts],
            ),
        )


def in_row_order(tables: Sequence[pa.Table]) -> pa.Table:
    """Return rejected rows of one file as one table, sorted by row."""
    return pa.concat_tables(tables).sort_by(schema.ROW)
