"""The shadow sample, each of its texts once: what `audit` may take for independent draws.

A text is in the sample with all its copies or with none, so its rows say the same thing over and over.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Texts of a larger sample: those that come first by the ends of their hashes, which no sample is drawn by.
_KEPT = 1 << 17


@dataclass(frozen=True, kw_only=True)
class ShadowTexts:
    """Distinct texts of the shadow sample.

    Attributes:
        by_label: (num_labels,) int64, those that full depth gives each label.
        disagreements: (num_labels,) int64, those of them with another answer in any row.
    """

    by_label: npt.NDArray[np.int64]
    disagreements: npt.NDArray[np.int64]

    @property
    def num_texts(self) -> int:
        """All of them."""
        return int(self.by_label.sum())

    @property
    def num_disagreements(self) -> int:
        """All that were answered otherwise."""
        return int(self.disagreements.sum())


class ShadowTextsBuilder:
    """Counts texts whose rows come in any order, in bounded memory."""

    def __init__(self, num_labels: int) -> None:
        """Start with no text."""
        self._num_labels = num_labels
        self._texts: dict[bytes, tuple[int, bool]] = {}

    def add(self, hashes: Sequence[bytes], label_ids: Sequence[int], disagrees: Sequence[bool]) -> None:
        """Add rows of the sample.

        Args:
            hashes: (rows,) of their texts.
            label_ids: (rows,) what full depth answers.
            disagrees: (rows,) whether the job answered otherwise.
        """
        for text, label_id, is_other in zip(hashes, label_ids, disagrees, strict=True):
            self._texts[text] = (label_id, is_other or self._texts.get(text, (label_id, False))[1])
        if len(self._texts) >= 2 * _KEPT:
            self._texts = self._smallest()

    def _smallest(self) -> dict[bytes, tuple[int, bool]]:
        kept = heapq.nsmallest(_KEPT, self._texts, key=lambda text: text[::-1])
        return {text: self._texts[text] for text in kept}

    def build(self) -> ShadowTexts:
        """Return the counts."""
        texts = self._smallest().values()
        label_ids = np.array([label_id for label_id, _ in texts], dtype=np.int64)
        others = np.array([is_other for _, is_other in texts], dtype=np.bool_)
        return ShadowTexts(
            by_label=np.bincount(label_ids, minlength=self._num_labels),
            disagreements=np.bincount(label_ids[others], minlength=self._num_labels),
        )
