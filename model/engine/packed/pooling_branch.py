"""The pooling branch over packed texts."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.engine.fused_linear import LinearType
from model.network.branches.pooling import PoolingBranch
from model.tokens.packing import MicroBatch


class PackedPoolingBranch:
    """A `PoolingBranch` made ready: the same answers, and no state is copied."""

    @torch.no_grad()
    def __init__(self, branch: PoolingBranch, linear: LinearType) -> None:
        """Make ready what `branch` consists of, on its device and in its dtype."""
        hidden_size, dtype = branch.queries.in_features, branch.dense.weight.dtype
        self._queries = branch.queries.weight.detach()
        self._normalised_shape, self._epsilon = (hidden_size,), branch.norm.eps
        # The norm's scale and shift are part of the dense layer: in float64, so that folding rounds once.
        weight = branch.dense.weight.double().view(branch.dense.out_features, -1, hidden_size)
        bias = branch.dense.bias.double() + (weight * branch.norm.bias.double()).sum(dim=(1, 2))
        weight = (weight * branch.norm.weight.double()).flatten(1)
        self._dense = linear(weight.to(dtype), bias.to(dtype), nn.GELU())
        self._classifier = linear(branch.classifier.weight, branch.classifier.bias)

    def attend(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return the hidden layer of each text, (rows, width).

        Args:
            states: (tokens or more, hidden_size) of the micro-batch, contiguous.
            batch: its texts.
        """
        # Of all rows, whose number is one of few: oneDNN compiles a kernel for every number.
        scores = functional.linear(states, self._queries)[: batch.num_real_tokens].float()
        seen = states.new_empty(len(batch.lengths), self._queries.shape[0] + 2, states.shape[1])
        seen[:, -1] = states.index_select(0, batch.first_tokens(states.device))
        # Texts of one length are a batch as they stand.
        for texts in batch.length_buckets(max_padding=0):
            rows, length = len(texts.lengths), texts.max_seqlen
            weights = scores[texts.token_slice].view(rows, length, -1).softmax(dim=1)
            mean = weights.new_full((rows, length, 1), 1 / length)
            weights = torch.cat([weights, mean], dim=2).transpose(1, 2).to(states.dtype)
            tokens = states[texts.token_slice].view(rows, length, -1)
            seen[texts.text_slice, :-1] = torch.bmm(weights, tokens)
        seen = functional.layer_norm(seen, self._normalised_shape, eps=self._epsilon)
        return self._dense(seen.flatten(1))

    def classify(self, hidden: Tensor) -> Tensor:
        """Return (rows, num_labels) float32 logits from what `attend` returned."""
        return self._classifier(hidden).float()
