"""The texts of a window of rows, each distinct one once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from model.tokens.tokenization import TokenizedTexts, tokenize
from pipeline.contract import schema
from pipeline.sampling.hash_sampling import text_hashes


@dataclass(frozen=True, kw_only=True)
class DistinctTexts:
    """The distinct texts, or pairs, of some rows, in order of first appearance.

    Attributes:
        texts: the distinct texts.
        text_pairs: the second text of each, None where texts are single.
        hashes: 16 bytes each.
        inverse: (rows,) for each row, which of the distinct texts it holds.
    """

    texts: Sequence[str]
    text_pairs: Sequence[str] | None
    hashes: Sequence[bytes]
    inverse: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: pa.Table) -> "DistinctTexts":
        """Find the distinct texts of accepted rows."""
        texts = rows[schema.INPUT_TEXT].to_pylist()
        pairs = (
            rows[schema.INPUT_TEXT_PAIR].to_pylist() if schema.INPUT_TEXT_PAIR in rows.column_names else None
        )
        places: dict[bytes, int] = {}
        inverse = np.fromiter(
            (places.setdefault(digest, len(places)) for digest in text_hashes(texts, pairs)),
            dtype=np.int64,
            count=len(texts),
        )
        _, first_row = np.unique(inverse, return_index=True)
        return cls(
            texts=[texts[row] for row in first_row.tolist()],
            text_pairs=None if pairs is None else [pairs[row] for row in first_row.tolist()],
            hashes=list(places),
            inverse=inverse,
        )

    @property
    def row_hashes(self) -> list[bytes]:
        """The hash of each row's text, (rows,)."""
        return [self.hashes[place] for place in self.inverse.tolist()]

    def tokenize(self, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> TokenizedTexts:
        """Tokenise the distinct texts."""
        return tokenize(tokenizer, self.texts, self.text_pairs, max_length=max_length)
