"""The branch of Liu et al. 2020, as in the authors' code."""

import torch
from torch import Tensor, nn

from model.network.branches.branch import BERTS_READING, Branch, StateReading
from model.network.part_flops import BranchFlops, paper_count


class PaperBranch(Branch):
    """Narrow, attend once, and classify the first token, or the one that the model's own classifier reads.

    Linear H -> width, tanh, self-attention over the text, that token, Linear, tanh, Linear -> N, as in the
    authors' code (Liu et al. 2020, Table 1, gives the sizes; activation, heads and pooling are open there).

    Only one token is read after the attention, so there is one query per text, and what the key and the
    value layer do to every token can be done once per text instead: a score q'(K n + k) is (K'q)'n but for a
    constant that softmax does not see, and a weighted sum of V n + v is V applied to the weighted sum of n.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        width: int,
        num_heads: int,
        num_outputs: int,
        reading: StateReading = BERTS_READING,
    ) -> None:
        """Make a branch with fresh weights.

        Raises:
            ValueError: if `width` is no multiple of `num_heads`.
        """
        super().__init__(reading)
        if width % num_heads:
            raise ValueError(f"branch width {width} is no multiple of its {num_heads} heads")
        self.num_heads = num_heads
        # These are the names of the tensors in checkpoints: to rename one is to lose all that were saved.
        self.narrow = nn.Linear(hidden_size, width)
        self.query = nn.Linear(width, width)
        # Its bias changes no answer, but stands in the authors' checkpoints.
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attention_output = nn.Linear(width, width)
        self.dense = nn.Linear(width, width)
        self.classifier = nn.Linear(width, num_outputs)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Classify each text; see `Branch.forward`."""
        narrow = torch.tanh(self.narrow(self.reading.prepared(hidden)))
        query = self.project_query(self.reading.tokens.of_padded(narrow, attention_mask))
        return self.classify(self.attend(query, narrow, attention_mask))

    def project_query(self, token: Tensor) -> Tensor:
        """Return what a text looks for in its tokens.

        Args:
            token: (batch, width) narrow state of each text's token.

        Returns:
            (batch, heads, width); a token's score is its product with the token's narrow state.
        """
        heads = self.query(token).view(len(token), self.num_heads, -1)
        query: Tensor = torch.einsum("bhd,hdw->bhw", heads * heads.shape[-1] ** -0.5, self._by_head(self.key))
        return query

    @staticmethod
    def attend(query: Tensor, narrow: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return what every head sees of its text.

        Args:
            query: (batch, heads, width), from `project_query`.
            narrow: (batch, length, width).
            attention_mask: (batch, length) bool, True at real tokens; None where no text is padded.

        Returns:
            (batch, heads, width), sums of narrow states whose weights add up to 1.
        """
        scores = torch.bmm(query, narrow.transpose(1, 2)).float()
        if attention_mask is not None:
            scores = scores.masked_fill(~attention_mask[:, None], -torch.inf)
        return torch.bmm(scores.softmax(dim=-1).to(narrow.dtype), narrow)

    def classify(self, context: Tensor) -> Tensor:
        """Return (batch, num_outputs) logits from (batch, heads, width) of `attend`."""
        values = torch.einsum("bhw,hdw->bhd", context, self._by_head(self.value)).flatten(1)
        first = self.attention_output(values + self.value.bias)
        logits: Tensor = self.classifier(torch.tanh(self.dense(first)))
        return logits

    def _by_head(self, layer: nn.Linear) -> Tensor:
        """Return a layer's weights as (heads, size, width)."""
        return layer.weight.view(self.num_heads, -1, layer.in_features)

    @property
    def flops(self) -> BranchFlops:
        """What it costs as it is run: key and value layer folded, one query per text."""
        hidden_size, width, num_outputs = self._sizes
        return BranchFlops(
            # narrow; then every head's query against the token, and the sum that it enters
            per_token=2 * width * hidden_size + 4 * self.num_heads * width,
            # query and key, value and attention output, each a matrix per head; dense; then the labels
            per_text=2 * width * ((2 * self.num_heads + 1) * width + num_outputs),
        )

    @property
    def paper_flops(self) -> BranchFlops:
        """See `paper_count`."""
        hidden_size, width, _ = self._sizes
        return paper_count(hidden_size, width)

    @property
    def _sizes(self) -> tuple[int, int, int]:
        """Hidden size, width and labels."""
        return self.narrow.in_features, self.narrow.out_features, self.classifier.out_features
