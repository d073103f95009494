"""A model made ready to run fast: what a layer sweep, a teacher and the training of branches stand on.

Which operators run is its backend. Packed backends are held against the plain layers when they are made; a
model that they do not fit is run by its own Hugging Face layers on padded micro-batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model.checkpoints.loading import label_names
from model.engine.core_pool import CorePool
from model.engine.execution import Backend, Execution
from model.engine.frozen_copy import frozen_copy
from model.engine.fused_linear import ROW_MULTIPLE, round_up_rows
from model.engine.packed_block import PackedBlock
from model.engine.packed_branch import PackedBranch
from model.engine.packed_layers import linear_of, pack_layers
from model.network.backbones.adapter import BackboneAdapter, adapter_for
from model.network.branch import BranchClassifier
from model.tokens.packing import Lengths, MicroBatch, balanced_token_budget, micro_batches
from model.tokens.tokenization import TokenizedTexts

Item = TypeVar("Item")
Result = TypeVar("Result")

# What a function that `map_micro_batches` calls returns where it has nothing to tell.
NOTHING = torch.empty(0)

_LOGGER = logging.getLogger(__name__)
# What a layer holds of a token at once, in its hidden states: queries, keys and values, what lies between the
# two linear layers, residuals, and what the allocator keeps.
_STATES_PER_TOKEN = 16


class Engine:
    """A backbone, and maybe its branches, on a device and in a number format.

    It works on a frozen copy: the caller's model keeps its device, dtype and mode. Weights that are neither
    converted nor packed share the model's memory, so a model that is trained on wants a new engine.

    Attributes:
        adapter: of its own copy of the backbone.
        execution: what runs where; its backend is the one that fits the model.
        token_budget: tokens of a micro-batch; halved where a GPU runs out of memory.
        chunk_tokens: tokens of a chunk.
    """

    def __init__(
        self,
        adapter: BackboneAdapter,
        execution: Execution,
        *,
        pad_token_id: int,
        branches: Iterable[nn.Module] = (),
        num_cores: int | None = None,
    ) -> None:
        """Make ready a frozen backbone; `for_classifier` makes one of any model.

        Args:
            adapter: of a backbone on the device and in the dtype of `execution`, in eval mode.
            execution: what to run on; a backend that does not fit the model is replaced.
            pad_token_id: what texts are padded with.
            branches: `BranchClassifier`s, one per layer but the last, on any device and in any dtype; none
                for a backbone alone.
            num_cores: micro-batches that are computed side by side, each on one core; None for as many as
                torch uses threads. Of 1, every operator uses all threads.
        """
        self.adapter = adapter
        self._pad_token_id = pad_token_id
        self._layers = pack_layers(adapter, execution)
        self.execution = execution if self._layers else replace(execution, backend=Backend.HUGGING_FACE)
        self._branches = self._pack_branches(branches)
        is_cpu = execution.device == "cpu"
        self._cores = CorePool((num_cores or torch.get_num_threads()) if is_cpu else 1)
        token_bytes = self.hidden_size * execution.dtype.itemsize
        self.chunk_tokens = max(1, execution.chunk_bytes // token_bytes)
        self.token_budget = execution.token_budget
        if not is_cpu:
            free_bytes, _ = torch.cuda.mem_get_info()
            self.token_budget = min(self.token_budget, max_tokens_for_memory(free_bytes, token_bytes))
        self.attention_bias = cache(adapter.attention_bias)

    @classmethod
    def for_classifier(
        cls,
        model: PreTrainedModel,
        execution: Execution,
        *,
        pad_token_id: int,
        branches: Iterable[nn.Module] = (),
        num_cores: int | None = None,
    ) -> Engine:
        """Return the engine of a copy of `model`, a Hugging Face classifier; see `Engine` for the rest.

        Args:
            model: on any device, in any dtype and mode; stays as it is.
            execution: what to run on.
            pad_token_id: what texts are padded with.
            branches: see `Engine`.
            num_cores: see `Engine`.

        Raises:
            CheckpointError: if its family is not supported.
        """
        adapter = adapter_for(frozen_copy(model, device=execution.device, dtype=execution.dtype))
        return cls(adapter, execution, pad_token_id=pad_token_id, branches=branches, num_cores=num_cores)

    def with_branches(self, branches: Iterable[nn.Module]) -> Engine:
        """Return an engine of the same packed backbone and cores, with other branches.

        Args:
            branches: see `Engine`.
        """
        engine = copy(self)
        engine._branches = self._pack_branches(branches)
        return engine

    def _pack_branches(self, branches: Iterable[nn.Module]) -> list[PackedBranch]:
        linear, packed = linear_of(self.execution.backend), []
        for branch in branches:
            assert isinstance(branch, BranchClassifier)
            frozen = frozen_copy(branch, device=self.device, dtype=self.execution.dtype)
            packed.append(PackedBranch(frozen, linear))
        return packed

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return torch.device(self.execution.device)

    @property
    def num_layers(self) -> int:
        """Layers of the backbone."""
        return len(self.adapter.layers)

    @property
    def hidden_size(self) -> int:
        """Width of the states."""
        return int(self.adapter.model.config.hidden_size)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""
        return label_names(self.adapter.model.config)

    def micro_batches(self, lengths: Lengths) -> list[MicroBatch]:
        """Cut texts, longest first, into micro-batches."""
        return list(micro_batches(lengths, balanced_token_budget(int(lengths.sum()), self.token_budget)))

    def num_processed_tokens(self, batch: MicroBatch) -> int:
        """Return how many tokens a layer works on, padding included."""
        if self.execution.backend is Backend.HUGGING_FACE:
            return batch.num_padded_tokens
        rows = batch.num_real_tokens
        return round_up_rows(rows) if self.execution.backend is Backend.ONEDNN else rows

    def run_on_driver_thread(self, function: Callable[[], Result]) -> Result:
        """Return `function()`, which maps micro-batches, computed on one core where they are."""
        return self._cores.run_on_driver_thread(function)

    def allocate_states(self, num_tokens: int) -> Tensor:
        """Return room for the packed states of `num_tokens` tokens, and for what `slice_states` adds."""
        # Zeros behind, since what stands there is computed with, if for nothing.
        room = torch.empty(
            num_tokens + ROW_MULTIPLE, self.hidden_size, dtype=self.execution.dtype, device=self.device
        )
        room[num_tokens:] = 0
        return room

    def slice_states(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return a micro-batch's part of `states`, filled up by its neighbour's where that is faster."""
        if self.execution.backend is not Backend.ONEDNN:
            return states[batch.tokens]
        return states[batch.tokens.start : batch.tokens.start + self.num_processed_tokens(batch)]

    def compact(self, packed: Tensor, lengths: Lengths, keep: npt.NDArray[np.bool_]) -> Tensor:
        """Return packed states, from `allocate_states`, without the tokens of the rows that `keep` drops."""
        tokens = torch.from_numpy(np.flatnonzero(np.repeat(keep, lengths))).to(packed.device)
        room = self.allocate_states(len(tokens))
        kept = room[: len(tokens)]
        parts = zip(tokens.chunk(self._cores.count), kept.chunk(self._cores.count), strict=True)
        self._cores.map(lambda part: torch.index_select(packed, 0, part[0], out=part[1]), parts)
        return room

    def map_micro_batches(
        self, function: Callable[[MicroBatch], Tensor], batches: Iterable[MicroBatch]
    ) -> list[Tensor]:
        """Return `function` of each micro-batch, in order; side by side where there are cores for it.

        Args:
            function: returns a row for each text; may be called again on halves of a micro-batch that did not
                fit into memory, so it must leave nothing half-done.
            batches: micro-batches that share no text.
        """
        return self.parallel_map(lambda batch: self._retry_in_halves_on_oom(function, batch), batches)

    def parallel_map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return `function` of each item, in order, each computed on one core where there are cores."""
        return self._cores.map(function, items)

    def _retry_in_halves_on_oom(self, function: Callable[[MicroBatch], Tensor], batch: MicroBatch) -> Tensor:
        try:
            return function(batch)
        except torch.OutOfMemoryError:
            if len(batch.lengths) == 1:
                raise
        # Left first: the exception holds what did not fit.
        torch.cuda.empty_cache()
        self.token_budget = max(1, min(self.token_budget, batch.num_padded_tokens) // 2)
        _LOGGER.warning("out of memory: micro-batches of %d tokens from here on", self.token_budget)
        return torch.cat([self._retry_in_halves_on_oom(function, half) for half in batch.halves()])

    def embed(self, texts: TokenizedTexts, batch: MicroBatch) -> Tensor:
        """Return the states that the first layer takes, (tokens, hidden_size).

        Args:
            texts: longest first.
            batch: which of them.
        """
        real = batch.attention_mask(torch.device("cpu"))

        def padded(values: np.ndarray[Any, np.dtype[np.int32]], fill: int) -> Tensor:
            ids = batch.pad(torch.from_numpy(values[batch.tokens]))
            if real is not None:
                ids = ids.masked_fill(~real, fill)
            # A copy that the host need not wait for must start from pinned memory.
            ids = ids if self.device.type == "cpu" else ids.pin_memory()
            return ids.to(self.device, non_blocking=True)

        kinds = texts.token_type_ids
        return batch.unpad(
            self.adapter.embed(
                padded(texts.input_ids, self._pad_token_id),
                None if kinds is None else padded(kinds, 0),
                None if real is None else real.to(self.device, non_blocking=True),
            )
        )

    def run_layer(self, layer: int, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return the states after `layer`, from 1, of all tokens, (tokens, hidden_size).

        Args:
            layer: any but the last.
            states: (tokens or more, hidden_size) of the micro-batch, contiguous; see `slice_states`.
            batch: its texts.

        Returns:
            As many rows as `states` has, or as there are tokens.
        """
        if not self._layers:
            return batch.unpad(self._run_padded(layer, states, batch))
        return self._run_blocks(self._layers[layer - 1], states, batch)

    def run_last_layer(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return the first tokens' states after the last layer, (rows, hidden_size)."""
        if not self._layers:
            return self._run_padded(self.num_layers, states, batch)[:, 0]
        return self._run_blocks(self._layers[-1], states, batch)

    def _run_blocks(self, blocks: list[PackedBlock], states: Tensor, batch: MicroBatch) -> Tensor:
        for block in blocks:
            states = block(states, batch, self.attention_bias)
        return states

    def _run_padded(self, layer: int, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return (rows, width, hidden_size), by the Hugging Face layer."""
        padded = batch.pad(states[: batch.num_real_tokens])
        inputs = self.adapter.layer_inputs(padded, batch.attention_mask(states.device))
        return self.adapter.run_layer(layer - 1, padded, inputs)

    def branch_features(self, layer: int, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return what the branch after `layer` sees of each text, (rows, width), for `branch_logits`."""
        return self._branches[layer - 1].attend(states, batch)

    def branch_logits(self, layer: int, features: Tensor) -> Tensor:
        """Return a branch's logits, (rows, num_labels) float32, from its `branch_features`."""
        return self._branches[layer - 1].classify(features)

    def classify(self, first: Tensor) -> Tensor:
        """Return the teacher classifier's logits, (rows, num_labels) float32, from `run_last_layer`."""
        return self.adapter.classify(first[:, None]).float()


def max_tokens_for_memory(free_bytes: int, token_bytes: int) -> int:
    """Return how many tokens of a micro-batch fit into half of what a device has free, at least one.

    Args:
        free_bytes: of the device.
        token_bytes: of a token's hidden states.

    >>> max_tokens_for_memory(2 << 30, 768 * 2)
    43690
    """
    return max(1, free_bytes // 2 // (_STATES_PER_TOKEN * token_bytes))
