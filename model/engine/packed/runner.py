"""Layers run over packed texts, nothing padded, their weights made ready once."""

from collections.abc import Sequence

from torch import Tensor

from model.engine.execution import Backend
from model.engine.fused_linear import round_up_rows
from model.engine.packed.attention import Bias
from model.engine.packed.layers import RunnableBlock, linear_of
from model.tokens.packing import MicroBatch


class PackedRunner:
    """A `LayerRunner` of packed blocks."""

    def __init__(self, layers: Sequence[Sequence[RunnableBlock]], *, backend: Backend, bias: Bias) -> None:
        """Run blocks that `pack_layers` made.

        Args:
            layers: each layer's blocks.
            backend: that they were made for.
            bias: added to the attention scores.
        """
        self.backend = backend
        self._layers, self._bias = layers, bias
        self._row_multiple = linear_of(backend).row_multiple

    def num_processed_tokens(self, batch: MicroBatch) -> int:
        """See `LayerRunner`."""
        return round_up_rows(batch.num_real_tokens, self._row_multiple)

    def slice_states(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """See `LayerRunner`; filled up by the neighbour's states where products take more rows."""
        return states[batch.token_slice.start : batch.token_slice.start + self.num_processed_tokens(batch)]

    def run_layer(self, layer: int, states: Tensor, batch: MicroBatch) -> Tensor:
        """See `LayerRunner`."""
        for block in self._layers[layer - 1]:
            states = block(states, batch, self._bias)
        return states

    def run_last_layer(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """See `LayerRunner`."""
        return self.run_layer(len(self._layers), states, batch)
