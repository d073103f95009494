"""The pooling branch over packed texts."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.engine.fused_linear import LinearType
from model.network.branches.pooling import PoolingBranch
from model.tokens.packing import MicroBatch


class PackedPoolingBranch:
    """A `PoolingBranch` made ready: the same answers, and no state is copied that is normalised already."""

    @torch.no_grad()
    def __init__(self, branch: PoolingBranch, linear: LinearType) -> None:
        """Make ready what `branch` consists of, on its device and in its dtype."""
        hidden_size, dtype = branch.queries.in_features, branch.dense.weight.dtype
        self._reading = branch.reading
        self._queries = branch.queries.weight.detach()
        self._normalised_shape, self._epsilon = (hidden_size,), branch.norm.eps
        # The norm's scale and shift are part of the dense layer: in float64, so that folding rounds once.
        weight = branch.dense.weight.double().view(branch.dense.out_features, -1, hidden_size)
        bias = branch.dense.bias.double() + (weight * branch.norm.bias.double()).sum(dim=(1, 2))
        weight = (weight * branch.norm.weight.double()).flatten(1)
        self._dense = linear(weight.to(dtype), bias.to(dtype), nn.GELU())
        self._classifier = linear(branch.classifier.weight, branch.classifier.bias)

    def attend(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return what is seen of each text, normalised, (rows, (num_queries + 2) * hidden_size).

        Args:
            states: (tokens or more, hidden_size) of the micro-batch, contiguous.
            batch: its texts.
        """
        states = self._reading.prepared(states)
        num_texts, num_sums = len(batch.lengths), len(self._queries) + 1
        seen = states.new_empty(num_texts, num_sums + 1, states.shape[1])
        # No state is copied, and nothing has a shape of its own for every number of texts and tokens, for
        # which oneDNN would compile a kernel.
        tokens = torch.arange(batch.num_real_tokens, device=states.device).repeat(num_sums)
        first = batch.first_tokens(states.device)
        starts = torch.arange(num_sums, device=states.device)[:, None] * batch.num_real_tokens + first
        sums = functional.embedding_bag(
            tokens, states, starts.flatten(), mode="sum", per_sample_weights=self._weights(states, batch)
        )
        seen[:, :-1] = sums.view(num_sums, num_texts, -1).transpose(0, 1)
        seen[:, -1] = states.index_select(0, self._reading.tokens.standing(batch, states.device))
        return functional.layer_norm(seen, self._normalised_shape, eps=self._epsilon).flatten(1)

    def _weights(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return each query's weights of all tokens, one query after another, then the mean's."""
        # Of all rows, whose number is one of few.
        scores = functional.linear(states, self._queries)[: batch.num_real_tokens].float()
        places = batch.padded_positions(states.device)
        padded = scores.new_full((scores.shape[1], batch.num_padded_tokens), -torch.inf)
        padded.index_copy_(1, places, scores.t())
        of_queries = padded.view(-1, len(batch.lengths), batch.max_seqlen).softmax(dim=2).flatten(1)
        lengths = torch.from_numpy(batch.lengths).to(states.device, non_blocking=True)
        mean = (1 / lengths.float()).repeat_interleave(lengths, output_size=batch.num_real_tokens)
        return torch.cat([of_queries.index_select(1, places).flatten(), mean]).to(states.dtype)

    def classify(self, features: Tensor) -> Tensor:
        """Return (rows, num_outputs) float32 logits from what `attend` returned."""
        return self._classifier(self._dense(features)).float()
