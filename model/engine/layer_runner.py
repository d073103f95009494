"""What runs the layers of an engine: packed blocks where they fit the model, else its own modules."""

from typing import Protocol

from torch import Tensor

from model.engine.execution import Backend, Execution
from model.engine.packed.attention_bias import LongestBias
from model.engine.packed.layers import fits_packed_layers, pack_layers
from model.engine.packed.runner import PackedRunner
from model.engine.padded_runner import PaddedRunner
from model.network.backbones.adapter import BackboneAdapter
from model.tokens.packing import MicroBatch


class LayerRunner(Protocol):
    """Runs the layers of one backbone over micro-batches of packed texts.

    Attributes:
        backend: whose operators it runs.
    """

    backend: Backend

    def num_processed_tokens(self, batch: MicroBatch) -> int:
        """Return how many tokens a layer works on, padding included."""

    def slice_states(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return a micro-batch's part of packed states, (tokens or more, hidden_size), contiguous.

        Args:
            states: (total_tokens + `ROW_MULTIPLE` or more, hidden_size).
            batch: its texts.
        """

    def run_layer(self, layer: int, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return the states after `layer`, from 1 and any but the last; see `Engine.run_layer`."""

    def run_last_layer(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return what the classifier reads of each text after the last layer, (texts, hidden_size)."""


def expected_backend(adapter: BackboneAdapter, execution: Execution) -> Backend:
    """Return whose operators `runner_for` will run on a machine that has the device.

    Args:
        adapter: of a model on any device.
        execution: what it will run on.
    """
    return execution.backend if fits_packed_layers(adapter, execution) else Backend.HUGGING_FACE


def runner_for(adapter: BackboneAdapter, execution: Execution) -> LayerRunner:
    """Return what runs the layers of a model as `execution` says, or as its family does where that fails.

    Args:
        adapter: of a model on the device and in the dtype of `execution`.
        execution: what to run on.
    """
    if layers := pack_layers(adapter, execution):
        return PackedRunner(layers, backend=execution.backend, bias=LongestBias(adapter.attention_bias))
    return PaddedRunner(adapter)
