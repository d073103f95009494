"""A model made ready to run fast: what a layer sweep, a teacher and the training of branches stand on.

Which operators run is its backend. Packed backends are held against the plain layers when they are made; a
model that they do not fit is run by its own Hugging Face layers on padded micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from model.answers.answer import EXACT_LOG_VARIANCE
from model.answers.task import Task
from model.checkpoints.identity import new_identity
from model.checkpoints.loading import label_names, task_of
from model.engine.core_pool import CorePool, ParallelMap
from model.engine.embedding import embed
from model.engine.execution import Execution
from model.engine.frozen_copy import frozen_copy
from model.engine.fused_linear import ROW_MULTIPLE
from model.engine.gpus import device_named
from model.engine.layer_runner import runner_for
from model.engine.lexical import LexicalReader
from model.engine.memory_budget import MemoryBudget
from model.engine.packed.branches import pack_branches
from model.engine.stopwatch import EMBEDDINGS, Stopwatch, branch_name, layer_name
from model.network.backbones.adapter import BackboneAdapter
from model.network.backbones.registry import adapter_for
from model.tokens.lengths import Lengths
from model.tokens.packing import MicroBatch, TokenTypes
from model.tokens.tokenization import TokenizedTexts

Item = TypeVar("Item")
Result = TypeVar("Result")

# From here on a branch is no quicker a row: what a micro-batch holds, a few dozen, takes three times as long.
_BRANCH_ROWS = 256


class Engine:
    """A backbone, and maybe its branches, on a device and in a number format.

    It works on a frozen copy: the caller's model keeps its device, dtype and mode. Weights that are neither
    converted nor packed share the model's memory, so a model that is trained on wants a new engine.

    Attributes:
        adapter: of its own copy of the backbone.
        execution: what runs where; its backend is the one that fits the model.
        task: what the logits mean.
        memory_budget: the size of micro-batches.
        chunk_tokens: tokens of a chunk.
        model_hash: what calibrated policies are bound to.
        stopwatch: core-seconds of its parts on a CPU; none on a GPU, which computes when the host is at
            something else.
    """

    def __init__(
        self,
        adapter: BackboneAdapter,
        execution: Execution,
        *,
        pad_token_id: int,
        branches: Iterable[nn.Module] = (),
        lexical: LexicalReader | None = None,
        num_cores: int | None = None,
        model_hash: str | None = None,
    ) -> None:
        """Make ready a frozen backbone; `for_classifier` makes one of any model.

        Args:
            adapter: of a backbone on the device and in the dtype of `execution`, in eval mode.
            execution: what to run on; a backend that does not fit the model is replaced.
            pad_token_id: what texts are padded with.
            branches: `Branch`es, one per layer but the last, on any device and in any dtype; none
                for a backbone alone.
            lexical: of the lexical branch, where the model has one.
            num_cores: micro-batches that are computed side by side, each on one core; None for as many as
                torch uses threads. Of 1, every operator uses all threads.
            model_hash: what calibrated policies are bound to; None for a name that no policy knows.
        """
        self.adapter = adapter
        self.task = task_of(adapter.model.config)
        self.model_hash = model_hash or new_identity()
        self.stopwatch = Stopwatch(is_running=execution.device == "cpu")
        self._lexical = lexical
        self._pad_token_id = pad_token_id
        self._runner = runner_for(adapter, execution)
        self.execution = replace(execution, backend=self._runner.backend)
        self._branches = pack_branches(branches, self.execution)
        self._cores = CorePool((num_cores or torch.get_num_threads()) if execution.device == "cpu" else 1)
        token_bytes = self.hidden_size * execution.dtype.itemsize
        self.chunk_tokens = max(1, execution.chunk_bytes // token_bytes)
        self.memory_budget = MemoryBudget.on_device(execution, token_bytes)

    @classmethod
    def for_classifier(
        cls,
        model: PreTrainedModel,
        execution: Execution,
        *,
        pad_token_id: int,
        branches: Iterable[nn.Module] = (),
        lexical: LexicalReader | None = None,
        num_cores: int | None = None,
        model_hash: str | None = None,
    ) -> Engine:
        """Return the engine of a copy of `model`, a Hugging Face classifier.

        Args:
            model: on any device, in any dtype and mode; stays as it is.
            execution: see `Engine`, as for all that follow.
            pad_token_id: likewise.
            branches: likewise.
            lexical: likewise.
            num_cores: likewise.
            model_hash: likewise.

        Raises:
            CheckpointError: if its family is not supported.
        """
        device = device_named(execution.device)
        adapter = adapter_for(frozen_copy(model, device=device, dtype=execution.dtype))
        return cls(
            adapter,
            execution,
            pad_token_id=pad_token_id,
            branches=branches,
            lexical=lexical,
            num_cores=num_cores,
            model_hash=model_hash,
        )

    def with_branches(self, branches: Iterable[nn.Module]) -> Engine:
        """Return an engine of the same packed backbone and cores, with other branches; see `Engine`.

        It is of no checkpoint any more, so no policy that was calibrated before fits it.
        """
        engine = copy(self)
        engine.model_hash = new_identity()
        engine._branches = pack_branches(branches, self.execution)
        return engine

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        device: torch.device = self.adapter.model.device
        return device

    @property
    def num_layers(self) -> int:
        """Layers of the backbone."""
        return len(self.adapter.layers)

    @property
    def exits(self) -> range:
        """Where a text may leave: 0 where there is a lexical branch, and the layers, from 1."""
        return range(0 if self._lexical else 1, self.num_layers + 1)

    @property
    def hidden_size(self) -> int:
        """Width of the states."""
        return int(self.adapter.model.config.hidden_size)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""
        return label_names(self.adapter.model.config)

    @property
    def num_outputs(self) -> int:
        """Numbers that an exit answers with: a logit per label; of a score its value and spread."""
        return self.task.num_outputs(len(self.labels))

    def layer_token_types(self, texts: TokenizedTexts) -> TokenTypes | None:
        """Return the token types of `texts`, (total_tokens,), where layers look at them; None elsewhere."""
        return texts.token_type_ids if self.adapter.layers_see_token_types else None

    def micro_batches(self, lengths: Lengths, token_types: TokenTypes | None = None) -> list[MicroBatch]:
        """Cut texts into micro-batches.

        Args:
            lengths: (texts,) tokens of each, longest first.
            token_types: what `layer_token_types` says of them; None where no layer is run.
        """
        return self.memory_budget.micro_batches(lengths, token_types)

    def num_processed_tokens(self, batch: MicroBatch) -> int:
        """Return how many tokens a layer works on, padding included."""
        return self._runner.num_processed_tokens(batch)

    def run_on_driver_thread(self, function: Callable[[], Result]) -> Result:
        """Return `function()`, which maps micro-batches, computed on one core where they are."""
        return self._cores.run_on_driver_thread(function)

    def allocate_states(self, num_tokens: int) -> Tensor:
        """Return memory for the packed states of `num_tokens` tokens, and for what `slice_states` adds."""
        # Zeros behind, since what stands there is computed with, if for nothing.
        states = torch.empty(
            num_tokens + ROW_MULTIPLE, self.hidden_size, dtype=self.execution.dtype, device=self.device
        )
        states[num_tokens:] = 0
        return states

    def slice_states(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return a micro-batch's part of `states`, filled up by its neighbour's where that is faster."""
        return self._runner.slice_states(states, batch)

    def compact(self, packed: Tensor, lengths: Lengths, keep: npt.NDArray[np.bool_]) -> Tensor:
        """Return packed states, from `allocate_states`, without the tokens of the rows that `keep` drops."""
        tokens = torch.from_numpy(np.flatnonzero(np.repeat(keep, lengths))).to(packed.device)
        states = self.allocate_states(len(tokens))
        outputs = states[: len(tokens)].chunk(self._cores.count)
        parts = zip(tokens.chunk(self._cores.count), outputs, strict=True)
        self._cores.map(lambda part: torch.index_select(packed, 0, part[0], out=part[1]), parts)
        return states

    def map_micro_batches(
        self, function: Callable[[MicroBatch], Result], batches: Iterable[MicroBatch]
    ) -> list[Result]:
        """Return `function` of each micro-batch, in order; side by side where there are cores for it.

        Args:
            function: may be called again on parts of a micro-batch that did not fit into memory, so it must
                leave nothing half-done.
            batches: micro-batches that share no text.

        Returns:
            A result for each micro-batch, or for each part of one that did not fit.
        """
        parts = self.parallel_map(lambda batch: self.memory_budget.run_in_parts(function, batch), batches)
        return list(chain.from_iterable(parts))

    def for_each_micro_batch(
        self, function: Callable[[MicroBatch], None], batches: Iterable[MicroBatch]
    ) -> None:
        """Call `function` with each micro-batch; see `map_micro_batches`."""
        self.parallel_map(lambda batch: self.memory_budget.run_in_parts(function, batch), batches)

    def parallel_map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return `function` of each item, in order, each computed on one core where there are cores."""
        return self._cores.map(function, items)

    def lexical_logits(self, texts: TokenizedTexts, parallel_map: ParallelMap | None = None) -> Tensor:
        """Return the lexical branch's logits, (rows, num_outputs) float32, on the engine's device.

        Args:
            texts: at least one, in any order, for a model that has a lexical branch.
            parallel_map: what parts of the texts are read by; None for the engine's own, on all its cores.
        """
        assert self._lexical is not None, "callers look into `exits`"
        with self.stopwatch.measure(branch_name(0), num_cores=self._cores.count):
            return self._lexical.logits(texts, parallel_map or self.parallel_map).to(self.device)

    def embed(self, texts: TokenizedTexts, batch: MicroBatch) -> Tensor:
        """Return the states that the first layer takes, (tokens, hidden_size).

        Args:
            texts: longest first.
            batch: which of them.
        """
        with self.stopwatch.measure(EMBEDDINGS):
            return embed(self.adapter, texts, batch, pad_token_id=self._pad_token_id, device=self.device)

    def run_layer(self, layer: int, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return the states after `layer`, from 1, of all tokens, (tokens, hidden_size).

        Args:
            layer: any but the last.
            states: (tokens or more, hidden_size) of the micro-batch, contiguous; see `slice_states`.
            batch: its texts.

        Returns:
            As many rows as `states` has, or as there are tokens.
        """
        with self.stopwatch.measure(layer_name(layer)):
            return self._runner.run_layer(layer, states, batch)

    def run_last_layer(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return what the classifier reads of each text after the last layer, (rows, hidden_size)."""
        with self.stopwatch.measure(layer_name(self.num_layers)):
            return self._runner.run_last_layer(states, batch)

    def branch_features(self, layer: int, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return what the branch after `layer` sees of each text, (rows, width), for `branch_logits`."""
        with self.stopwatch.measure(branch_name(layer)):
            return self._branches[layer - 1].attend(states, batch)

    def branch_logits(self, layer: int, features: Tensor) -> Tensor:
        """Return a branch's logits, (rows, num_outputs) float32, from its `branch_features` of any texts."""
        with self.stopwatch.measure(branch_name(layer)):
            return self._branches[layer - 1].classify(features)

    def map_branch_logits(self, layer: int, parts: Iterable[Tensor]) -> Tensor:
        """Return `branch_logits` of all `parts`, (rows, num_outputs), side by side where there are cores."""
        branch_rows = _BRANCH_ROWS if self.device.type == "cpu" else None
        groups = _groups(parts, min_rows=branch_rows)
        return torch.cat(self.parallel_map(lambda group: self.branch_logits(layer, torch.cat(group)), groups))

    def classify(self, read: Tensor) -> Tensor:
        """Return the teacher classifier's logits, (rows, num_outputs) float32, from `run_last_layer`.

        A score comes with the spread of what is exact.
        """
        with self.stopwatch.measure(layer_name(self.num_layers)):
            logits = self.adapter.classify(read[:, None]).float()
        if self.task is Task.SCORE:
            return functional.pad(logits, (0, 1), value=EXACT_LOG_VARIANCE)
        return logits


def _groups(parts: Iterable[Tensor], *, min_rows: int | None) -> list[list[Tensor]]:
    """Put neighbours together until they have `min_rows` rows; all of them for None."""
    groups: list[list[Tensor]] = [[]]
    for part in parts:
        if min_rows is not None and sum(map(len, groups[-1])) >= min_rows:
            groups.append([])
        groups[-1].append(part)
    return groups
