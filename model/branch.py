"""The student classifier after a layer."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class BranchClassifier(nn.Module):
    """Narrow, attend once, and classify the first token.

    Linear H -> width, tanh, self-attention over the text, first token, Linear, tanh, Linear -> N, as in the
    authors' code (Liu et al. 2020, Table 1, gives the sizes; activation, heads and pooling are open there).
    Only the first token is read after the attention, so only its query is computed.
    """

    def __init__(self, *, hidden_size: int, width: int, num_heads: int, num_labels: int) -> None:
        """Make a branch with fresh weights.

        Raises:
            ValueError: if `width` is no multiple of `num_heads`.
        """
        super().__init__()
        if width % num_heads:
            raise ValueError(f"branch width {width} is no multiple of its {num_heads} heads")
        self.num_heads = num_heads
        self.narrow = nn.Linear(hidden_size, width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attention_output = nn.Linear(width, width)
        self.dense = nn.Linear(width, width)
        self.classifier = nn.Linear(width, num_labels)

    def forward(self, hidden: Tensor, padding: Tensor | None = None) -> Tensor:
        """Classify each text from the hidden states of one layer.

        Args:
            hidden: (batch, length, hidden_size).
            padding: (batch, length) bool, True at real tokens; None where no text is padded.

        Returns:
            (batch, num_labels) logits in the dtype of `hidden`.
        """
        narrow = torch.tanh(self.narrow(hidden))
        query = self._heads(self.query(narrow[:, :1]))
        keys, values = self._heads(self.key(narrow)), self._heads(self.value(narrow))
        mask = None if padding is None else padding[:, None, None, :]
        attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        first = self.attention_output(attended.transpose(1, 2).flatten(2))[:, 0]
        logits: Tensor = self.classifier(torch.tanh(self.dense(first)))
        return logits

    def _heads(self, states: Tensor) -> Tensor:
        """Return (batch, length, width) as (batch, heads, length, width / heads)."""
        batch, length, _ = states.shape
        return states.view(batch, length, self.num_heads, -1).transpose(1, 2)
