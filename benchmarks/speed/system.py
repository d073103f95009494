"""What is compared: anything that answers rows of text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from transformers import PreTrainedTokenizerBase

from model.tokens.tokenization import TokenizedTexts, tokenize

LabelIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Texts in a random order, so that the first few are like all of them."""

    texts: list[str]
    tokenizer: PreTrainedTokenizerBase
    max_length: int

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def tokenized(self) -> TokenizedTexts:
        return tokenize(self.tokenizer, self.texts, max_length=self.max_length)

    def head(self, num_rows: int) -> "Rows":
        return Rows(self.texts[:num_rows], self.tokenizer, self.max_length)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What came out.

    Attributes:
        label_ids: (rows,).
        seconds: what counts, where that is not the time that the call took.
        facts: what else is known, fields of a `Measurement`.
    """

    label_ids: LabelIds
    seconds: float | None = None
    facts: dict[str, float]


def label_ids_of(predictions: pd.Series, labels: Sequence[str]) -> LabelIds:
    """Return the numbers of predicted labels, (rows,), in the order of `labels`."""
    return predictions.map({label: index for index, label in enumerate(labels)}).to_numpy()


def share_equal(answers: LabelIds, expected: LabelIds) -> float:
    """Return the share of rows with the expected answer."""
    assert answers.shape == expected.shape, f"{answers.shape} answers to {expected.shape} rows"
    return float((answers == expected).mean())


class System(Protocol):
    """Loaded and compiled when it is made.

    Attributes:
        series: see `Measurement`.
        name: unique in a dataset and precision.
        note: what is timed, where that is not text in, labels out.
        is_slow: whether a quarter of the rows is enough.
    """

    series: str
    name: str
    note: str
    is_slow: bool

    def run(self, rows: Rows) -> Answers:
        """Answer; this is timed."""
