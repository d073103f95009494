"""ModernBERT's block over packed texts: norms before its parts, rotated queries and keys, a gate."""

import torch
from torch import Tensor

from model.engine.fused_linear import LinearType
from model.engine.packed.attention import Bias, attend, no_bias, query_scale
from model.engine.packed.window_attention import attend_in_window
from model.network.backbones.modernbert import PreNormBlock
from model.tokens.lengths import token_indices
from model.tokens.packing import MicroBatch
from model.tokens.read_tokens import ReadTokens

# Of longer texts, which this family takes up to 8,192 tokens of, scores are computed a few rows at a time.
_MAX_TOKENS_AT_ONCE = 512


class PackedPreNormBlock:
    """One block; the two numbers of a head that are rotated together stand side by side: a complex number."""

    def __init__(self, block: PreNormBlock, *, num_heads: int, linear: LinearType) -> None:
        """Make ready what `block` consists of; see `PackedBlock`."""
        self._num_heads, self._block = num_heads, block
        # Of the longest text that was met.
        self._rotations = block.rotations(1)
        projections = block.projections
        bias = None if projections.bias is None else _for_attention(projections.bias, num_heads)
        self._projections = linear(_for_attention(projections.weight, num_heads), bias)
        self._attention_output = linear(block.attention_output.weight, block.attention_output.bias)
        weights = block.up.weight.chunk(2)
        biases = (None, None) if block.up.bias is None else block.up.bias.chunk(2)
        self._up = linear(weights[0], biases[0], block.activation)
        self._gate = linear(weights[1], biases[1])
        self._down = linear(block.down.weight, block.down.bias)

    def __call__(self, states: Tensor, batch: MicroBatch, bias: Bias = no_bias) -> Tensor:
        """Return the states of a micro-batch after this block; see `PackedBlock`.

        Args:
            states: (tokens or more, hidden_size), contiguous.
            batch: its texts.
            bias: nothing; rotations say where a token stands.
        """
        return self._feed(self._gather(states, batch), states)

    def _gather(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return what every token gathers from its text."""
        projected = self._projections(self._block.attention_norm(states))
        projected = projected.view(len(states), 3, self._num_heads, -1)
        self._rotate(projected[: batch.num_real_tokens, :2], batch)
        length = batch.max_seqlen
        reach = length if self._block.reach is None else self._block.reach
        if length <= min(reach + 1, _MAX_TOKENS_AT_ONCE):
            return attend(projected, batch)
        return attend_in_window(projected, batch, reach)

    def _rotate(self, states: Tensor, batch: MicroBatch) -> None:
        """Rotate queries and keys, (tokens, 2, heads, size), in place, computed in float32."""
        positions = torch.from_numpy(token_indices(batch.lengths * 0, batch.lengths))
        rotations = self._rotations
        if len(rotations) < batch.max_seqlen:
            self._rotations = rotations = self._block.rotations(batch.max_seqlen)
        exact = states.float()
        pairs = torch.view_as_complex(exact.unflatten(-1, (-1, 2)))
        pairs.mul_(rotations.index_select(0, positions)[:, None, None])
        if exact is not states:
            states.copy_(exact)

    def _feed(self, attended: Tensor, states: Tensor) -> Tensor:
        states = self._attention_output(attended, states)
        normed = self._block.feed_norm(states)
        return self._down(self._up(normed).mul_(self._gate(normed)), states)


class LastPackedPreNormBlock(PackedPreNormBlock):
    """The last block of all: nothing is finished of tokens that the classifier does not read."""

    def __call__(self, states: Tensor, batch: MicroBatch, bias: Bias = no_bias) -> Tensor:
        """Return what the classifier reads of each text, normalised, (rows, hidden_size)."""
        read, attended = self._block.read, self._gather(states, batch)
        if read is ReadTokens.ALL:
            return read.of_packed(self._block.last_norm(self._feed(attended, states)), batch)
        tokens = read.standing(batch, states.device)
        fed = self._feed(attended.index_select(0, tokens), states.index_select(0, tokens))
        last: Tensor = self._block.last_norm(fed)
        return last


def _for_attention(weight: Tensor, num_heads: int) -> Tensor:
    """Return weights or biases of queries, keys and values, (3 * heads * size, ...), as attention wants them.

    Queries are scaled. Of a head's queries and keys the first half is rotated with the second: number i
    comes to stand before number i of the second half. Products of queries and keys stay what they are.
    """
    query, key, value = weight.unflatten(0, (3, num_heads, 2, -1))
    scale = query_scale(query.shape[1] * query.shape[2])
    pairs = torch.stack([query * scale, key]).transpose(2, 3)
    return torch.cat([pairs.flatten(0, 3), value.flatten(0, 2)])
