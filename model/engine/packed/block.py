"""A transformer block over packed texts: no padding, fused products, the same numbers as the module's own."""

import torch
from torch import Tensor, nn

from model.engine.fused_linear import LinearType
from model.engine.packed.attention import Bias, attend, attend_first, no_bias, query_scale
from model.network.backbones.adapter import Block
from model.tokens.packing import MicroBatch


class PackedBlock:
    """One block; queries, keys and values come from one product, the attention's scale is in its weights."""

    def __init__(self, block: Block, *, num_heads: int, linear: LinearType) -> None:
        """Make ready what `block` consists of.

        Args:
            block: its modules, on their device and in their dtype.
            num_heads: attention heads.
            linear: how products are computed.
        """
        self._num_heads, self._query_scale = num_heads, self._scale_queries(block, num_heads)
        self._project(block, linear)
        self._attention_output = linear(block.attention_output.weight, block.attention_output.bias)
        self._attention_norm, self._output_norm = block.attention_norm, block.output_norm
        self._up = linear(block.up.weight, block.up.bias, block.activation)
        self._down = linear(block.down.weight, block.down.bias)

    def _scale_queries(self, block: Block, num_heads: int) -> float:
        return query_scale(block.query.out_features // num_heads)

    def _project(self, block: Block, linear: LinearType) -> None:
        self._projections = linear(*self._joined(block.query, block.key, block.value))

    def _joined(self, query: nn.Linear, *others: nn.Linear) -> tuple[Tensor, Tensor]:
        """Return weights and biases one below the other, the query's scaled as the attention wants them."""
        scale = self._query_scale
        return (
            torch.cat([query.weight * scale, *(layer.weight for layer in others)]),
            torch.cat([query.bias * scale, *(layer.bias for layer in others)]),
        )

    def __call__(self, states: Tensor, batch: MicroBatch, bias: Bias = no_bias) -> Tensor:
        """Return the states of a micro-batch after this block.

        Args:
            states: (tokens or more, hidden_size), contiguous; rows behind the last token may hold anything.
            batch: its texts.
            bias: added to the attention scores.

        Returns:
            As many rows as `states` has.
        """
        projected = self._projections(states).view(len(states), 3, self._num_heads, -1)
        return self._feed(attend(projected, batch, bias), states)

    def _feed(self, attended: Tensor, states: Tensor) -> Tensor:
        states = self._attention_norm(self._attention_output(attended, states))
        fed: Tensor = self._output_norm(self._down(self._up(states), states))
        return fed


class LastPackedBlock(PackedBlock):
    """The last block of all: a classifier reads its first token only, so no other token is finished."""

    def _project(self, block: Block, linear: LinearType) -> None:
        self._query = linear(*self._joined(block.query))
        keys_and_values = torch.cat([block.key.weight, block.value.weight])
        biases = torch.cat([block.key.bias, block.value.bias])
        self._projections = linear(keys_and_values, biases)

    def __call__(self, states: Tensor, batch: MicroBatch, bias: Bias = no_bias) -> Tensor:
        """Return the states of the first tokens only, (rows, hidden_size); see `PackedBlock`."""
        first = states.index_select(0, batch.first_tokens(states.device))
        query = self._query(first).view(len(first), self._num_heads, -1)
        projected = self._projections(states).view(len(states), 2, self._num_heads, -1)
        return self._feed(attend_first(query, projected, batch, bias), first)
