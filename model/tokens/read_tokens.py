"""Which of a text's tokens a classifier reads."""

from enum import StrEnum

import torch
from torch import Tensor

from model.tokens.packing import MicroBatch


class ReadTokens(StrEnum):
    """The tokens whose states a classifier reads: one that stands for the text, or the mean of all."""

    FIRST = "first"
    LAST = "last"
    ALL = "all"

    def standing(self, batch: MicroBatch, device: torch.device) -> Tensor:
        """Return where each text's token stands that is read most, (texts,), the first where all are."""
        return batch.last_tokens(device) if self is ReadTokens.LAST else batch.first_tokens(device)

    def of_packed(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return what a classifier reads of each text, (texts, hidden_size).

        Args:
            states: (tokens or more, hidden_size) of a micro-batch.
            batch: its texts.
        """
        if self is not ReadTokens.ALL:
            return states.index_select(0, self.standing(batch, states.device))
        lengths = torch.from_numpy(batch.lengths).to(states.device, non_blocking=True)
        tokens = states[: batch.num_real_tokens].float()
        return torch.segment_reduce(tokens, "mean", lengths=lengths, unsafe=True).to(states.dtype)

    def of_padded(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return the state of the token that is read most, (batch, hidden_size), the first where all are.

        Args:
            hidden: (batch, length, hidden_size), padded behind the texts.
            attention_mask: (batch, length) bool, True at real tokens; None where no text is padded.
        """
        if self is not ReadTokens.LAST:
            return hidden[:, 0]
        if attention_mask is None:
            return hidden[:, -1]
        rows = torch.arange(len(hidden), device=hidden.device)
        return hidden[rows, attention_mask.sum(dim=1) - 1]
