"""The branch that pools whole states by learned queries."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.network.branches.branch import BERTS_READING, Branch, StateReading
from model.network.part_flops import BranchFlops


class PoolingBranch(Branch):
    """Look at a text in a few ways, and classify what is seen by one hidden layer.

    What is seen: the sums of the states by learned queries (a query is a vector, a token's weight the softmax
    of its state's product with it, as in Yang et al. 2016), the mean of the states, and the state of
    the token that the model's own classifier reads, the first where it reads all. Each is normalised, all are
    joined, and Linear, GELU, Linear make the logits.

    A token is read by a few products with vectors, where the paper's branch narrows every token by a matrix:
    what a text costs hardly depends on its length.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        width: int,
        num_queries: int,
        num_outputs: int,
        reading: StateReading = BERTS_READING,
    ) -> None:
        """Make a branch with fresh weights."""
        super().__init__(reading)
        # These are the names of the tensors in checkpoints: to rename one is to lose all that were saved.
        self.queries = nn.Linear(hidden_size, num_queries, bias=False)
        self.norm = nn.LayerNorm(hidden_size)
        self.dense = nn.Linear((num_queries + 2) * hidden_size, width)
        self.classifier = nn.Linear(width, num_outputs)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Classify each text; see `Branch.forward`."""
        hidden = self.reading.prepared(hidden)
        scores = self.queries(hidden)
        if attention_mask is None:
            weights = scores.new_full((*scores.shape[:2], 1), 1 / scores.shape[1])
        else:
            scores = scores.masked_fill(~attention_mask[..., None], -torch.inf)
            weights = attention_mask[..., None].to(scores.dtype)
            weights = weights / weights.sum(dim=1, keepdim=True)
        weights = torch.cat([scores.softmax(dim=1), weights], dim=2)
        pooled = torch.bmm(weights.transpose(1, 2), hidden)
        token = self.reading.tokens.of_padded(hidden, attention_mask)
        seen = self.norm(torch.cat([pooled, token[:, None]], dim=1)).flatten(1)
        logits: Tensor = self.classifier(functional.gelu(self.dense(seen)))
        return logits

    @property
    def flops(self) -> BranchFlops:
        """What it costs as it is run."""
        hidden_size, num_queries = self.queries.in_features, self.queries.out_features
        return BranchFlops(
            # every query against the token, and the sums that it enters: the queries' and the mean
            per_token=2 * hidden_size * (2 * num_queries + 1),
            per_text=2 * self.dense.out_features * (self.dense.in_features + self.classifier.out_features),
        )

    @property
    def paper_flops(self) -> BranchFlops:
        """The queries, and the hidden layer."""
        return BranchFlops(
            per_token=2 * self.queries.in_features * self.queries.out_features,
            per_text=2 * self.dense.in_features * self.dense.out_features,
        )
