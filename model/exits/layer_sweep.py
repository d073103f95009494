"""The layer sweep: all texts of a chunk through a layer, then one decision, then on with the survivors.

Texts that the lexical branch is sure of never come into a chunk.

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

from model.answers.answer import Answer, answer_of
from model.answers.rule import AnswerRule
from model.engine.engine import Engine
from model.exits.binding import check_policy
from model.exits.policy import ExitPolicy, length_scales
from model.exits.predictions import Predictions
from model.tokens.lengths import Lengths, argsort_by_length, chunks
from model.tokens.packing import MicroBatch, TokenTypes
from model.tokens.tokenization import TokenizedTexts

Result = TypeVar("Result")

# The exit layer of a row that has left nowhere yet.
_IN_THE_NETWORK = -1


@dataclass
class _ChunkResult:
    """What is known of the rows of a chunk so far."""

    logits: Tensor
    uncertainty: Tensor
    first_uncertainty: Tensor
    exit_layer: Tensor
    full_depth_logits: Tensor

    @classmethod
    def empty(cls, num_rows: int, num_outputs: int, device: torch.device) -> _ChunkResult:
        unknown = torch.full((num_rows, num_outputs), torch.nan, device=device)
        return cls(
            logits=unknown,
            uncertainty=torch.full((num_rows,), torch.nan, device=device),
            first_uncertainty=torch.full((num_rows,), torch.nan, device=device),
            exit_layer=torch.zeros(num_rows, dtype=torch.int16, device=device),
            full_depth_logits=unknown.clone(),
        )

    def see(self, rows: Tensor, uncertainty: Tensor) -> None:
        """Take note of how unsure an exit is, if it is the first that these rows come to."""
        known = self.first_uncertainty[rows]
        self.first_uncertainty[rows] = torch.where(known.isnan(), uncertainty, known)

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
        token_types: (total_tokens,) where layers look at them; None where they do not.
        hidden: (total_tokens or more, hidden_size), from the engine.
        answered: (rows,) bool: those that have left already, and go on for their full-depth answer only.
    """

    rows: Tensor
    lengths: Lengths
    token_types: TokenTypes | None
    hidden: Tensor
    answered: Tensor

    def keep(self, keep: Tensor, engine: Engine) -> _Survivors:
        mask = keep.cpu().numpy()
        if mask.all():
            return self
        types = self.token_types
        return _Survivors(
            rows=self.rows[keep],
            lengths=self.lengths[mask],
            token_types=None if types is None else types[np.repeat(mask, self.lengths)],
            hidden=engine.compact(self.hidden, self.lengths, mask),
            answered=self.answered[keep],
        )


@dataclass
class LayerSweep:
    """Runs chunks through a model; counts tokens on the way.

    Attributes:
        engine: the model made ready.
        policy: when a text leaves.
        answer: what that is about.
        num_processed_tokens: token-layers run so far, padding included.
        num_real_tokens: the same without padding.
    """

    engine: Engine
    policy: ExitPolicy
    answer: Answer
    num_processed_tokens: int = field(default=0, init=False)
    num_real_tokens: int = field(default=0, init=False)

    @torch.inference_mode()
    def run(
        self,
        chunk: TokenizedTexts,
        full_depth_mask: npt.NDArray[np.bool_],
        answered: npt.NDArray[np.bool_],
    ) -> _ChunkResult:
        """Answer the texts of one chunk.

        Args:
            chunk: texts, longest first.
            full_depth_mask: (rows,) bool, texts that go on to full depth whatever they answered before.
            answered: (rows,) bool, those of them that left before the first layer, and are not answered
                again.
        """
        device, num_layers = self.engine.device, self.engine.num_layers
        answers = _ChunkResult.empty(len(chunk), self.engine.num_outputs, device)
        full_depth = torch.from_numpy(full_depth_mask).to(device)
        scales = torch.from_numpy(length_scales(chunk.lengths, self.policy.length_exponent)).to(device)
        survivors = _Survivors(
            rows=torch.arange(len(chunk), device=device),
            lengths=chunk.lengths,
            token_types=self.engine.layer_token_types(chunk),
            hidden=self._embed(chunk),
            answered=torch.from_numpy(answered).to(device),
        )
        for layer in range(1, num_layers):
            threshold = self.policy.threshold(layer)
            features = self._run_layer(survivors, layer, with_branch=threshold > 0)
            if not features:
                continue
            logits = self.engine.map_branch_logits(layer, features)
            uncertainty = self.answer.uncertainty(logits, self.policy.scaling(layer))
            answers.see(survivors.rows, uncertainty)
            exits_here = (uncertainty / scales[survivors.rows] < threshold) & ~survivors.answered
            # Some kinds of answer would be sure of an infinite logit.
            exits_here &= logits.isfinite().all(dim=-1)
            answers.record(survivors.rows[exits_here], logits[exits_here], uncertainty[exits_here], layer)
            survivors.answered |= exits_here
            survivors = survivors.keep(~survivors.answered | full_depth[survivors.rows], self.engine)
            if not len(survivors.lengths):
                return answers
        logits = self._run_last_layer(survivors)
        uncertainty = self.answer.uncertainty(logits)
        answers.see(survivors.rows, uncertainty)
        rest = ~survivors.answered
        answers.record(survivors.rows[rest], logits[rest], uncertainty[rest], num_layers)
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

    def _run_layer(self, survivors: _Survivors, layer: int, *, with_branch: bool) -> list[Tensor]:
        """Run `layer` in place; return what its branch sees, (rows, width), in parts; none if not asked."""
        engine = self.engine

        def run(batch: MicroBatch) -> Tensor | None:
            states = engine.run_layer(layer, engine.slice_states(survivors.hidden, batch), batch)
            features = engine.branch_features(layer, states, batch) if with_branch else None
            survivors.hidden[batch.token_slice] = states[: batch.num_real_tokens]
            return features

        return [part for part in self._map_survivors(run, survivors) if part is not None]

    def _run_last_layer(self, survivors: _Survivors) -> Tensor:
        """Return the teacher classifier's logits, (rows, num_outputs) float32."""
        engine = self.engine

        def run(batch: MicroBatch) -> Tensor:
            return engine.classify(engine.run_last_layer(engine.slice_states(survivors.hidden, batch), batch))

        return torch.cat(self._map_survivors(run, survivors))

    def _map_survivors(self, function: Callable[[MicroBatch], Result], survivors: _Survivors) -> list[Result]:
        batches = self.engine.micro_batches(survivors.lengths, survivors.token_types)
        self.num_processed_tokens += sum(map(self.engine.num_processed_tokens, batches))
        self.num_real_tokens += int(survivors.lengths.sum())
        return self.engine.map_micro_batches(function, batches)


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """What is known of all rows so far; see `Predictions`."""

    logits: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32]
    first_uncertainty: npt.NDArray[np.float32]
    exit_layer: npt.NDArray[np.int16]
    full_depth_logits: npt.NDArray[np.float32]

    @classmethod
    def empty(cls, num_rows: int, num_outputs: int) -> _Answers:
        unknown = np.full((num_rows, num_outputs), np.nan, dtype=np.float32)
        return cls(
            logits=unknown,
            uncertainty=np.full(num_rows, np.nan, dtype=np.float32),
            first_uncertainty=np.full(num_rows, np.nan, dtype=np.float32),
            exit_layer=np.full(num_rows, _IN_THE_NETWORK, dtype=np.int16),
            full_depth_logits=unknown.copy(),
        )

    def record_chunk(self, rows: npt.NDArray[np.int64], chunk: _ChunkResult) -> None:
        """Take over the answers of a chunk, but for rows that had one."""
        self.full_depth_logits[rows] = chunk.full_depth_logits.cpu().numpy()
        new = self.exit_layer[rows] == _IN_THE_NETWORK
        unseen = np.isnan(self.first_uncertainty[rows])
        self.first_uncertainty[rows[unseen]] = chunk.first_uncertainty.cpu().numpy()[unseen]
        self.logits[rows[new]] = chunk.logits.cpu().numpy()[new]
        self.uncertainty[rows[new]] = chunk.uncertainty.cpu().numpy()[new]
        self.exit_layer[rows[new]] = chunk.exit_layer.cpu().numpy()[new]


@torch.inference_mode()
def _leave_before_first_layer(
    engine: Engine, texts: TokenizedTexts, policy: ExitPolicy, answer: Answer, answers: _Answers
) -> None:
    """Answer the texts that the lexical branch is sure of."""
    logits = engine.run_on_driver_thread(partial(engine.lexical_logits, texts))
    uncertainty = answer.uncertainty(logits, policy.lexical_scaling)
    scales = torch.from_numpy(length_scales(texts.lengths, policy.length_exponent)).to(engine.device)
    is_sure = (uncertainty / scales < policy.lexical_threshold) & logits.isfinite().all(dim=-1)
    leaves = is_sure.cpu().numpy()
    answers.logits[leaves] = logits.cpu().numpy()[leaves]
    answers.first_uncertainty[:] = uncertainty.cpu().numpy()
    answers.uncertainty[leaves] = answers.first_uncertainty[leaves]
    answers.exit_layer[leaves] = 0


def predict_tokenized(
    engine: Engine,
    texts: TokenizedTexts,
    policy: ExitPolicy,
    *,
    full_depth_mask: npt.NDArray[np.bool_] | None = None,
) -> Predictions:
    """Answer texts of any number and order: sort by length, cut into chunks, sweep, restore the order.

    Texts that leave before the first layer are of no chunk. A text whose answer is no number leaves nowhere
    early, and its logits are not finite.

    Args:
        engine: the model made ready.
        texts: in the order the answers shall have.
        policy: when a text leaves.
        full_depth_mask: (rows,) bool, texts that go on to full depth in any case; None for none.

    Raises:
        ParameterError: if the policy is for another number of layers, or for exits that the model has not.
        ArtifactError: if the policy is calibrated for something else than this engine and these texts.
    """
    check_policy(policy, engine, texts.max_length)
    if full_depth_mask is None:
        full_depth_mask = np.zeros(len(texts), dtype=np.bool_)
    rule = policy.answer or AnswerRule(task=engine.task)
    answer = answer_of(rule, engine.labels)
    answers = _Answers.empty(len(texts), engine.num_outputs)
    if policy.lexical_threshold > 0 and len(texts):
        _leave_before_first_layer(engine, texts, policy, answer, answers)
    has_left = answers.exit_layer != _IN_THE_NETWORK
    going_on = np.flatnonzero(~has_left | full_depth_mask)
    order = going_on[argsort_by_length(texts.lengths[going_on])]
    sweep = LayerSweep(engine=engine, policy=policy, answer=answer)
    for part in chunks(texts.lengths[order], engine.chunk_tokens):
        rows = order[part]
        run = partial(sweep.run, texts.take(rows), full_depth_mask[rows], has_left[rows])
        answers.record_chunk(rows, engine.run_on_driver_thread(run))
    return Predictions(
        labels=engine.labels,
        rule=rule,
        **vars(answers),
        num_tokens=texts.lengths,
        truncated=texts.truncated,
        num_processed_tokens=sweep.num_processed_tokens,
        num_real_tokens=sweep.num_real_tokens,
    )
