"""The layer sweep: all texts of a chunk through a layer, then one decision, then on with the survivors.

A chunk is packed, longest text first. Every layer runs on full, length-sorted micro-batches of the texts
still in it, so at most one partial micro-batch per layer and chunk is lost. A text's answer depends on its
chunk only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.engine.engine import Engine
from model.engine.execution import check_finite
from model.exits.binding import check_policy
from model.exits.policy import ExitPolicy
from model.exits.predictions import Predictions
from model.network.uncertainty import normalised_entropy
from model.tokens.packing import Lengths, MicroBatch, argsort_by_length, chunks
from model.tokens.tokenization import TokenizedTexts

Result = TypeVar("Result")


@dataclass
class _ChunkResult:
    """What is known of the rows of a chunk so far."""

    logits: Tensor
    uncertainty: Tensor
    exit_layer: Tensor
    full_depth_logits: Tensor

    @classmethod
    def empty(cls, num_rows: int, num_labels: int, device: torch.device) -> _ChunkResult:
        unknown = torch.full((num_rows, num_labels), torch.nan, device=device)
        return cls(
            logits=unknown,
            uncertainty=torch.full((num_rows,), torch.nan, device=device),
            exit_layer=torch.zeros(num_rows, dtype=torch.int16, device=device),
            full_depth_logits=unknown.clone(),
        )

    def record(self, rows: Tensor, logits: Tensor, uncertainty: Tensor, layer: int) -> None:
        self.logits[rows] = logits
        self.uncertainty[rows] = uncertainty
        self.exit_layer[rows] = layer


@dataclass
class _Survivors:
    """The texts still in the network, packed, longest first.

    Attributes:
        rows: (rows,) their indices in the chunk.
        lengths: (rows,) their tokens.
        hidden: (total_tokens or more, hidden_size), from the engine.
        answered: (rows,) bool: those that have left already, and go on for their full-depth answer only.
    """

    rows: Tensor
    lengths: Lengths
    hidden: Tensor
    answered: Tensor

    def keep(self, keep: Tensor, engine: Engine) -> _Survivors:
        mask = keep.cpu().numpy()
        if mask.all():
            return self
        return _Survivors(
            rows=self.rows[keep],
            lengths=self.lengths[mask],
            hidden=engine.compact(self.hidden, self.lengths, mask),
            answered=self.answered[keep],
        )


@dataclass
class LayerSweep:
    """Runs chunks through a model; counts tokens on the way.

    Attributes:
        engine: the model made ready.
        policy: when a text leaves.
        num_processed_tokens: token-layers run so far, padding included.
        num_real_tokens: the same without padding.
    """

    engine: Engine
    policy: ExitPolicy
    num_processed_tokens: int = field(default=0, init=False)
    num_real_tokens: int = field(default=0, init=False)

    @torch.inference_mode()
    def run(self, chunk: TokenizedTexts, full_depth_mask: npt.NDArray[np.bool_]) -> _ChunkResult:
        """Answer the texts of one chunk.

        Args:
            chunk: texts, longest first.
            full_depth_mask: (rows,) bool, texts that go on to full depth whatever they answered before.
        """
        device, num_layers = self.engine.device, self.engine.num_layers
        answers = _ChunkResult.empty(len(chunk), len(self.engine.labels), device)
        full_depth = torch.from_numpy(full_depth_mask).to(device)
        survivors = _Survivors(
            rows=torch.arange(len(chunk), device=device),
            lengths=chunk.lengths,
            hidden=self._embed(chunk),
            answered=torch.zeros(len(chunk), dtype=torch.bool, device=device),
        )
        for layer in range(1, num_layers):
            threshold = self.policy.threshold(layer)
            features = self._run_layer(survivors, layer, with_branch=threshold > 0)
            if features is None:
                continue
            logits = self.engine.branch_logits(layer, features)
            uncertainty = normalised_entropy(logits / self.policy.temperature(layer))
            exits_here = (uncertainty < threshold) & ~survivors.answered
            answers.record(survivors.rows[exits_here], logits[exits_here], uncertainty[exits_here], layer)
            survivors.answered |= exits_here
            survivors = survivors.keep(~survivors.answered | full_depth[survivors.rows], self.engine)
            if not len(survivors.lengths):
                return answers
        logits = self._run_last_layer(survivors)
        unanswered = ~survivors.answered
        answers.record(
            survivors.rows[unanswered], logits[unanswered], normalised_entropy(logits[unanswered]), num_layers
        )
        answers.full_depth_logits[survivors.rows] = logits
        return answers

    def _embed(self, chunk: TokenizedTexts) -> Tensor:
        """Return the packed states that the first layer takes, (total_tokens or more, hidden_size)."""
        engine = self.engine
        hidden = engine.allocate_states(len(chunk.input_ids))

        def embed(batch: MicroBatch) -> None:
            hidden[batch.token_slice] = engine.embed(chunk, batch)

        engine.for_each_micro_batch(embed, engine.micro_batches(chunk.lengths))
        return hidden

    def _run_layer(self, survivors: _Survivors, layer: int, *, with_branch: bool) -> Tensor | None:
        """Run `layer` in place; return what its branch sees, (rows, width), None if not asked for."""
        engine = self.engine

        def run(batch: MicroBatch) -> Tensor | None:
            states = engine.run_layer(layer, engine.slice_states(survivors.hidden, batch), batch)
            features = engine.branch_features(layer, states, batch) if with_branch else None
            survivors.hidden[batch.token_slice] = states[: batch.num_real_tokens]
            return features

        features = [part for part in self._map_survivors(run, survivors) if part is not None]
        return torch.cat(features) if features else None

    def _run_last_layer(self, survivors: _Survivors) -> Tensor:
        """Return the teacher classifier's logits, (rows, num_labels) float32."""
        engine = self.engine

        def run(batch: MicroBatch) -> Tensor:
            return engine.classify(engine.run_last_layer(engine.slice_states(survivors.hidden, batch), batch))

        return torch.cat(self._map_survivors(run, survivors))

    def _map_survivors(self, function: Callable[[MicroBatch], Result], survivors: _Survivors) -> list[Result]:
        batches = self.engine.micro_batches(survivors.lengths)
        self.num_processed_tokens += sum(map(self.engine.num_processed_tokens, batches))
        self.num_real_tokens += int(survivors.lengths.sum())
        return self.engine.map_micro_batches(function, batches)


def predict_tokenized(
    engine: Engine,
    texts: TokenizedTexts,
    policy: ExitPolicy,
    *,
    full_depth_mask: npt.NDArray[np.bool_] | None = None,
) -> Predictions:
    """Answer texts of any number and order: sort by length, cut into chunks, sweep, restore the order.

    Args:
        engine: the model made ready.
        texts: in the order the answers shall have.
        policy: when a text leaves.
        full_depth_mask: (rows,) bool, texts that go on to full depth in any case; None for none.

    Raises:
        ArtifactError: if the policy is calibrated for something else than this engine and these texts.
        CheckpointError: if an answer is not finite.
    """
    check_policy(policy, engine, texts.max_length)
    num_rows, num_labels = len(texts), len(engine.labels)
    order = argsort_by_length(texts.lengths)
    full_depth_mask = np.zeros(num_rows, dtype=np.bool_) if full_depth_mask is None else full_depth_mask
    sweep = LayerSweep(engine=engine, policy=policy)
    logits = np.empty((num_rows, num_labels), dtype=np.float32)
    full_depth = np.empty_like(logits)
    uncertainty = np.empty(num_rows, dtype=np.float32)
    exit_layer = np.empty(num_rows, dtype=np.int16)
    for part in chunks(texts.lengths[order], engine.chunk_tokens):
        rows = order[part]
        chunk, chunk_mask = texts.take(rows), full_depth_mask[rows]
        answers = engine.run_on_driver_thread(partial(sweep.run, chunk, chunk_mask))
        logits[rows] = answers.logits.cpu().numpy()
        full_depth[rows] = answers.full_depth_logits.cpu().numpy()
        uncertainty[rows] = answers.uncertainty.cpu().numpy()
        exit_layer[rows] = answers.exit_layer.cpu().numpy()
    check_finite(logits)
    return Predictions(
        labels=engine.labels,
        logits=logits,
        uncertainty=uncertainty,
        exit_layer=exit_layer,
        num_tokens=texts.lengths,
        truncated=texts.truncated,
        full_depth_logits=full_depth,
        num_processed_tokens=sweep.num_processed_tokens,
        num_real_tokens=sweep.num_real_tokens,
    )
