"""A model's layers over packed texts, trusted only after they have agreed with the plain ones."""

import logging
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from model.engine.execution import Backend, Execution
from model.engine.fused_linear import LinearType, OneDnnLinear, TorchLinear
from model.engine.gpus import device_named, has_variable_length_attention
from model.engine.packed.attention import Bias
from model.engine.packed.block import LastPackedBlock, PackedBlock
from model.engine.packed.disentangled_block import LastPackedDisentangledBlock, PackedDisentangledBlock
from model.engine.packed.pre_norm_block import LastPackedPreNormBlock, PackedPreNormBlock
from model.network.backbones.adapter import BackboneAdapter, Block, PackableBlock
from model.network.backbones.deberta import DisentangledBlock
from model.network.backbones.modernbert import PreNormBlock
from model.tokens.packing import MicroBatch, micro_batches


class RunnableBlock(Protocol):
    """A block made ready."""

    def __call__(self, states: Tensor, batch: MicroBatch, bias: Bias) -> Tensor:
        """Return the states of a micro-batch after it; see `PackedBlock`."""


# What is made of a block's parts, and of those of the last block of all.
_PACKED: dict[type[PackableBlock], tuple[Callable[..., RunnableBlock], Callable[..., RunnableBlock]]] = {
    Block: (PackedBlock, LastPackedBlock),
    DisentangledBlock: (PackedDisentangledBlock, LastPackedDisentangledBlock),
    PreNormBlock: (PackedPreNormBlock, LastPackedPreNormBlock),
}
_LOGGER = logging.getLogger(__name__)
# How far a packed layer's states may be from the plain layer's, as a share of the largest.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def linear_of(backend: Backend) -> LinearType:
    """Return how a backend computes products."""
    return OneDnnLinear if backend is Backend.ONEDNN else TorchLinear


def fits_packed_layers(adapter: BackboneAdapter, execution: Execution) -> bool:
    """Return whether packed blocks are made for such a model on such a device, wherever that may be.

    Args:
        adapter: of a model on any device and in any dtype.
        execution: what to run on.
    """
    blocks = adapter.blocks(0)
    if execution.backend is Backend.HUGGING_FACE or not blocks:
        return False
    # What torch's variable-length attention does not take.
    has_bias = adapter.attention_bias(1) is not None
    is_for_cpu = execution.dtype is torch.float32 or has_bias or type(blocks[0]) is not Block
    return execution.device == "cpu" or not is_for_cpu


@torch.no_grad()
def pack_layers(adapter: BackboneAdapter, execution: Execution) -> list[list[RunnableBlock]]:
    """Return each layer's packed blocks; none at all where the backend is not for such a model.

    Args:
        adapter: of a model on the device and in the dtype of `execution`.
        execution: what to run on.
    """
    if not fits_packed_layers(adapter, execution):
        return []
    if execution.device != "cpu" and not has_variable_length_attention():
        _LOGGER.warning("plain layers are used: torch's attention over packed texts wants a newer GPU")
        return []
    blocks = [adapter.blocks(index) for index in range(len(adapter.layers))]
    num_heads, linear = adapter.model.config.num_attention_heads, linear_of(execution.backend)
    middle, last = (
        partial(kind, num_heads=num_heads, linear=linear) for kind in _PACKED[type(blocks[-1][-1])]
    )
    # Layers that share their weights share what is made of them.
    pack = cache(middle)
    layers = [[pack(block) for block in layer] for layer in blocks]
    layers[-1] = [*layers[-1][:-1], last(blocks[-1][-1])]
    for index, error in enumerate(_max_relative_errors(adapter, layers, execution), start=1):
        if not error <= _TOLERANCE[execution.dtype]:
            _LOGGER.warning(
                "plain layers are used, since layer %d computed by %s is off by %.1e of its largest value",
                *(index, execution.backend, error),
            )
            return []
    return layers


def _max_relative_errors(
    adapter: BackboneAdapter, layers: list[list[RunnableBlock]], execution: Execution
) -> Iterator[float]:
    """Yield each packed layer's largest error on a few random states, as a share of the largest value."""
    lengths = np.array([7, 4, 4, 1])
    (batch,) = micro_batches(lengths, 100)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(int(lengths.sum()), adapter.model.config.hidden_size, generator=generator)
    states = hidden.to(device_named(execution.device), execution.dtype)
    padded = batch.pad(states)
    inputs = adapter.layer_inputs(padded, batch.attention_mask(states.device), None)
    for index, blocks in enumerate(layers):
        plain = adapter.run_layer(index, padded, inputs)
        expected = batch.unpad(plain)
        if index == len(layers) - 1:
            expected = adapter.read_tokens(adapter.model.config).of_packed(expected, batch)
        packed = states
        for block in blocks:
            packed = block(packed, batch, adapter.attention_bias)
        yield float((packed.float() - expected.float()).abs().max() / expected.float().abs().max())
