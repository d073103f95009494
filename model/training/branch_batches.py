"""Soft-labelled texts as branches learn from them: batches with the backbone's states."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from model.engine.engine import Engine
from model.exits.exit_logits import LayerStates
from model.fastbert import FastBertForSequenceClassification
from model.tokens.tokenization import TokenizedTexts, tokenize
from model.training.ranks import ONE_PROCESS, Ranks
from model.training.soft_labelled_texts import (
    SoftLabelledTexts,
    SoftLabelSource,
    concatenate,
    mark_last,
    token_windows,
)

# Of the states that are held at once. What fits, some ten thousand short texts, is computed once for all.
_STATE_BYTES = 4 << 30


@dataclass(frozen=True, kw_only=True)
class BranchBatch:
    """This process's texts of a batch, all of them where it is the only one, and what branches see of them.

    Attributes:
        labels: the texts, and the teacher's answers.
        share: of the whole batch.
        rows: where they stand among those whose states were computed at once.
        states: returns the states of all of these.
    """

    labels: SoftLabelledTexts
    share: float
    rows: slice | npt.NDArray[np.int64]
    states: Callable[[], LayerStates]


class BranchBatches:
    """The batches of each epoch. The backbone is frozen, so the states of many are computed at once."""

    def __init__(
        self,
        model: FastBertForSequenceClassification,
        engine: Engine,
        source: SoftLabelSource,
        *,
        batch_size: int,
        seed: int,
        ranks: Ranks = ONE_PROCESS,
    ) -> None:
        """Read nothing yet.

        Args:
            model: whose tokenizer and maximum length are used.
            engine: of its backbone.
            source: the texts.
            batch_size: texts per batch, those of all processes.
            seed: of the order.
            ranks: the processes; each reads all texts, and runs its own of each batch.
        """
        self._ranks = ranks
        self._model, self._engine, self._source = model, engine, source
        self._batch_size, self._seed = batch_size, seed
        token_bytes = engine.hidden_size * engine.execution.dtype.itemsize * (engine.num_layers - 1)
        self._window_tokens = max(1, _STATE_BYTES // token_bytes)
        self._kept: _KeptStates | None = None

    def __call__(self, epoch: int) -> Iterator[BranchBatch]:
        """Yield the batches of an epoch, from 0."""
        batches = self._source.batches(epoch, batch_size=self._batch_size, seed=self._seed)
        if self._kept is not None:
            for labels in batches:
                yield self._kept.batch(labels)
            return
        # Of whole batches, so that they are the same however many processes there are.
        windows = mark_last(token_windows(batches, self._window_tokens))
        for index, (window, is_last) in enumerate(windows):
            if index == 0 and is_last:
                self._kept = _KeptStates(window, self._states, self._ranks)
                yield from map(self._kept.batch, window)
                return
            # Not before they are asked for: a resumed run skips what was done.
            own = [labels.take(self._ranks.rows_of(len(labels)).tolist()) for labels in window]
            states = cache(partial(self._states, concatenate(own)))
            ends = accumulate(map(len, own))
            for whole, labels, end in zip(window, own, ends, strict=True):
                rows = slice(end - len(labels), end)
                yield BranchBatch(labels=labels, share=len(labels) / len(whole), rows=rows, states=states)

    def _states(self, labels: SoftLabelledTexts) -> LayerStates:
        return LayerStates(self._engine, tokenize_labelled(self._model, labels))


class _KeptStates:
    """The states of all texts of a small corpus, for every epoch; each process has those of its own."""

    def __init__(
        self,
        window: list[SoftLabelledTexts],
        states: Callable[[SoftLabelledTexts], LayerStates],
        ranks: Ranks,
    ) -> None:
        """Compute nothing before it is asked for."""
        texts = concatenate(window)
        # In one order, whatever the epoch that training begins with: states depend on their neighbours by
        # rounding, and a resumed run is to end with the bits of one that was not killed.
        keys = _keys(texts)
        order = sorted(range(len(texts)), key=keys.__getitem__)
        own = [order[row] for row in ranks.rows_of(len(order))]
        # Of equal texts the last stands for all, whoever has the others.
        owner = {keys[row]: place % ranks.size for place, row in enumerate(order)}
        self._places = {keys[row]: place for place, row in enumerate(own) if owner[keys[row]] == ranks.rank}
        self._states = cache(partial(states, texts.take(own)))

    def batch(self, labels: SoftLabelledTexts) -> BranchBatch:
        """Return what of a batch is among them."""
        places = [self._places.get(key) for key in _keys(labels)]
        own = labels.take([row for row, place in enumerate(places) if place is not None])
        rows = np.array([place for place in places if place is not None], dtype=np.int64)
        return BranchBatch(labels=own, share=len(own) / len(labels), rows=rows, states=self._states)


def _keys(labels: SoftLabelledTexts) -> list[tuple[str, str]]:
    """Return what tells the texts apart."""
    return list(zip(labels.texts, labels.text_pairs or [""] * len(labels), strict=True))


def tokenize_labelled(model: FastBertForSequenceClassification, labels: SoftLabelledTexts) -> TokenizedTexts:
    """Return the texts as the model's own tokenizer cuts them."""
    max_length = model.config.max_length
    return tokenize(model.tokenizer, labels.texts, labels.text_pairs, max_length=max_length)
