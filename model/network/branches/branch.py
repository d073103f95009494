"""What all designs of a branch have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from model.network.part_flops import BranchFlops
from model.tokens.read_tokens import ReadTokens


@dataclass(frozen=True, kw_only=True)
class StateReading:
    """How branches read the states of a family's layers.

    Attributes:
        tokens: what the model's own classifier reads; of its token a branch sees the state itself.
        normalise: whether states are normalised first, each by itself: where layers do not end in a norm,
            states grow from layer to layer, and a few tokens' are much larger than the others'.
    """

    tokens: ReadTokens = ReadTokens.FIRST
    normalise: bool = False

    def prepared(self, states: Tensor) -> Tensor:
        """Return states, (..., hidden_size), as a branch takes them."""
        return functional.layer_norm(states, states.shape[-1:]) if self.normalise else states


BERTS_READING = StateReading()


class Branch(nn.Module, ABC):
    """A student classifier: from the hidden states of one layer to logits."""

    def __init__(self, reading: StateReading) -> None:
        """Make a branch over states that are read so."""
        super().__init__()
        self.reading = reading

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
