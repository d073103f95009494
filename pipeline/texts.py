"""The texts of a window of rows, each distinct one once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from model.tokenization import TokenizedTexts, tokenize
from pipeline import schema
from pipeline.text_hash import text_hashes


@dataclass(frozen=True, kw_only=True)
class DistinctTexts:
    """The distinct texts, or pairs, of some rows, in order of first appearance.

    Attributes:
        texts: the distinct texts.
        text_pairs: the second text of each, None where texts are single.
        hashes: 16 bytes each.
        row_text: (rows,) for each row, which of the distinct texts it holds.
    """

    texts: Sequence[str]
    text_pairs: Sequence[str] | None
    hashes: Sequence[bytes]
    row_text: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: pa.Table) -> "DistinctTexts":
        """Find the distinct texts of accepted rows."""
        texts = rows[schema.INPUT_TEXT].to_pylist()
        pairs = (
            rows[schema.INPUT_TEXT_PAIR].to_pylist() if schema.INPUT_TEXT_PAIR in rows.column_names else None
        )
        places: dict[bytes, int] = {}
        row_text = np.fromiter(
            (places.setdefault(digest, len(places)) for digest in text_hashes(texts, pairs)),
            dtype=np.int64,
            count=len(texts),
        )
        _, first_row = np.unique(row_text, return_index=True)
        return cls(
            texts=[texts[row] for row in first_row.tolist()],
            text_pairs=None if pairs is None else [pairs[row] for row in first_row.tolist()],
            hashes=list(places),
            row_text=row_text,
        )

    def tokenize(self, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> TokenizedTexts:
        """Tokenise the distinct texts."""
        return tokenize(tokenizer, self.texts, self.text_pairs, max_length=max_length)


def source_column(source: str, num_rows: int) -> pa.Array:
    """Return a column that says `source` in every row."""
    indices = pa.array(np.zeros(num_rows, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array([source], type=pa.string()))


def vectors(values: npt.NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Return (rows, num_labels) float32 as a column of fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def vectors_or_null(values: npt.NDArray[np.float32], is_null: npt.NDArray[np.bool_]) -> pa.ListArray:
    """Return (rows, num_labels) float32 as a column of lists, null where `is_null`, (rows,)."""
    sizes = np.where(is_null, 0, values.shape[1])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(values[~is_null].ravel()), mask=pa.array(is_null)
    )
