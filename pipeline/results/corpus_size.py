"""How many distinct texts, or rows, a corpus has, as far as it is worth counting."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from model.guarantee.finite_corpus import CorpusSize
from model.guarantee.unit import Unit
from pipeline.contract import schema
from pipeline.reading.inputs import Inputs
from pipeline.reading.labelled_texts import read_rows
from pipeline.sampling.distinct_texts import DistinctTexts

# From here on more hardly change what is tested: of 1 %, 0.977 %.
MOST_UNITS = 1_000_000
_LEAST_TO_SORT = 1 << 16


def ignore_rows(num_rows: int) -> None:
    """Tell nobody how many rows are read."""


def corpus_size(
    inputs: Inputs, unit: Unit, *, most: int = MOST_UNITS, on_rows: Callable[[int], None] = ignore_rows
) -> CorpusSize:
    """Count the rows that would be accepted, or their distinct texts, until there are `most`.

    Args:
        inputs: the files.
        unit: texts or rows.
        most: where counting ends, soon after.
        on_rows: told how many rows more are read.

    Raises:
        InputError: if a file cannot be read.
    """
    rows, texts = 0, _DistinctHashes()
    for _, accepted, num_rejected in read_rows(inputs):
        rows += len(accepted)
        if unit is Unit.TEXTS:
            texts.add(DistinctTexts.of(accepted).hashes)
        on_rows(len(accepted) + num_rejected)
        counted = texts.num_sorted if unit is Unit.TEXTS else rows
        if counted >= most:
            return CorpusSize(num_units=counted, is_complete=False, unit=unit)
    return CorpusSize(num_units=texts.count() if unit is Unit.TEXTS else rows, unit=unit)


class _DistinctHashes:
    """Counts hashes by their first eight bytes; two that share these count as one."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, dtype=np.uint64)
        self._new: list[npt.NDArray[np.uint64]] = []

    @property
    def num_sorted(self) -> int:
        """How many there are at least."""
        return len(self._sorted)

    def add(self, hashes: Sequence[bytes]) -> None:
        words = np.frombuffer(b"".join(hashes), dtype=np.uint64)
        self._new.append(words.reshape(-1, schema.TEXT_HASH_BYTES // 8)[:, 0])
        # As seldom as there are more to sort, so that sorting costs little.
        if sum(map(len, self._new)) > max(len(self._sorted), _LEAST_TO_SORT):
            self.count()

    def count(self) -> int:
        self._sorted = np.unique(np.concatenate([self._sorted, *self._new]))
        self._new = []
        return len(self._sorted)
