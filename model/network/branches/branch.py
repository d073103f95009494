"""What all designs of a branch have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

Count = TypeVar("Count", int, npt.NDArray[np.int64])


@dataclass(frozen=True, kw_only=True)
class BranchFlops:
    """Floating-point operations of one branch, 2 for a multiply-add.

    Attributes:
        per_token: of each token of a text.
        per_text: of each text, whatever its length.
    """

    per_token: int
    per_text: int

    def of_text(self, num_tokens: Count) -> Count:
        """Return what it costs on a text, or on each of some texts."""
        return self.per_token * num_tokens + self.per_text


class Branch(nn.Module, ABC):
    """A student classifier: from the hidden states of one layer to logits."""

    @abstractmethod
    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Classify each text from the hidden states of one layer.

        Args:
            hidden: (batch, length, hidden_size).
            attention_mask: (batch, length) bool, True at real tokens; None where no text is padded.

        Returns:
            (batch, num_outputs) logits in the dtype of `hidden`.
        """

    @property
    @abstractmethod
    def flops(self) -> BranchFlops:
        """What it costs as it is run, packed."""

    @property
    @abstractmethod
    def paper_flops(self) -> BranchFlops:
        """What it costs as the paper counts: linear layers alone, the last one left out."""
