"""Layers run as Hugging Face runs them: the model's own modules, over texts padded to one length."""

from torch import Tensor

from model.engine.execution import Backend
from model.network.backbones.adapter import BackboneAdapter
from model.tokens.packing import MicroBatch


class PaddedRunner:
    """A `LayerRunner` for every model."""

    def __init__(self, adapter: BackboneAdapter) -> None:
        """Run the layers of the adapter's model as they are."""
        self.backend = Backend.HUGGING_FACE
        self._adapter, self._read = adapter, adapter.read_tokens(adapter.model.config)

    def num_processed_tokens(self, batch: MicroBatch) -> int:
        """See `LayerRunner`."""
        return batch.num_padded_tokens

    def slice_states(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """See `LayerRunner`."""
        return states[batch.token_slice]

    def run_layer(self, layer: int, states: Tensor, batch: MicroBatch) -> Tensor:
        """See `LayerRunner`."""
        return batch.unpad(self._run_padded(layer, states, batch))

    def run_last_layer(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """See `LayerRunner`."""
        last = batch.unpad(self._run_padded(len(self._adapter.layers), states, batch))
        return self._read.of_packed(last, batch)

    def _run_padded(self, layer: int, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return (texts, width, hidden_size)."""
        padded = batch.pad(states[: batch.num_real_tokens])
        device = states.device
        inputs = self._adapter.layer_inputs(
            padded, batch.attention_mask(device), batch.padded_token_types(device)
        )
        return self._adapter.run_layer(layer - 1, padded, inputs)
