"""Soft-labelled texts as the lexical branch learns from them, and the n-grams that they share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.engine.lexical import ngram_bag
from model.fastbert import FastBertForSequenceClassification
from model.network.lexical_branch import NgramBag
from model.tokens.lengths import chunks
from model.tokens.ngram_table import MAX_SLOT_BITS, NgramTable, slot_bits_for, slots_of
from model.tokens.ngrams import hash_ngrams
from model.tokens.tokenization import TokenizedTexts
from model.training.batching import step_seed
from model.training.branch_batches import tokenize_labelled
from model.training.soft_labelled_texts import SoftLabelledTexts, SoftLabelSource

# Texts that are read at once, and mixed.
_WINDOW_ROWS = 1 << 16
# Of token ids and logits that are held from one pass to the next; a larger corpus is read again.
_KEPT_BYTES = 1 << 30
# Hashes take 24 bytes of each token.
_TOKENS_PER_PART = 1 << 20
# An n-gram of one text only says nothing of any other.
_MIN_TEXTS = 2


@dataclass(frozen=True, kw_only=True)
class LexicalTexts:
    """Some texts, tokenised, and what the teacher answers to them.

    Attributes:
        tokens: as the model sees them.
        logits: (texts, num_labels) float32 of the teacher.
        true_labels: (texts,) int64, see `SoftLabelledTexts`; None where none is to be learnt from.
    """

    tokens: TokenizedTexts
    logits: npt.NDArray[np.float32]
    true_labels: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(cls, model: FastBertForSequenceClassification, labels: SoftLabelledTexts) -> "LexicalTexts":
        """Return soft-labelled texts as the model's own tokenizer cuts them."""
        # The branch reads no token types, which would take as much memory as the ids.
        tokens = replace(tokenize_labelled(model, labels), token_type_ids=None)
        return cls(tokens=tokens, logits=labels.logits, true_labels=labels.true_labels)

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def num_bytes(self) -> int:
        """What they take in memory, nearly."""
        return self.tokens.input_ids.nbytes + self.tokens.lengths.nbytes + self.logits.nbytes

    def take(self, rows: npt.NDArray[np.int64]) -> "LexicalTexts":
        """Return the texts that `rows` names, in that order."""
        true_labels = None if self.true_labels is None else self.true_labels[rows]
        return LexicalTexts(tokens=self.tokens.take(rows), logits=self.logits[rows], true_labels=true_labels)

    def first(self, number: int) -> "LexicalTexts":
        """Return the first `number` texts, or all where these are fewer."""
        return self.take(np.arange(min(number, len(self))))

    def parts(self) -> "Iterator[LexicalTexts]":
        """Cut them into runs whose hashes fit into memory."""
        for part in chunks(self.tokens.lengths, _TOKENS_PER_PART):
            yield self.take(np.arange(part.start, part.stop))


class LexicalPasses:
    """The texts of a source, pass after pass; held in memory as far as they fit, else read again."""

    def __init__(
        self,
        model: FastBertForSequenceClassification,
        source: SoftLabelSource,
        *,
        seed: int,
        on_texts: Callable[[int], None],
    ) -> None:
        """Read nothing yet.

        Args:
            model: whose tokenizer and maximum length are used.
            source: the texts.
            seed: of the order.
            on_texts: told of every so many texts that were taken.
        """
        self._model, self._source, self._seed, self._on_texts = model, source, seed, on_texts
        self._kept: list[LexicalTexts] | None = None

    def __call__(self, index: int) -> Iterator[LexicalTexts]:
        """Yield all texts, mixed, in an order that seed and `index`, the number of the pass, set."""
        generator = torch.Generator().manual_seed(step_seed(self._seed, index))
        for window in self._windows(index, generator):
            mixed = window.take(torch.randperm(len(window), generator=generator).numpy())
            for part in mixed.parts():
                yield part
                self._on_texts(len(part))

    def _windows(self, index: int, generator: torch.Generator) -> Iterator[LexicalTexts]:
        if self._kept is not None:
            for place in torch.randperm(len(self._kept), generator=generator).tolist():
                yield self._kept[place]
            return
        kept: list[LexicalTexts] = []
        left = _KEPT_BYTES
        for labels in self._source.batches(index, batch_size=_WINDOW_ROWS, seed=self._seed):
            window = LexicalTexts.of(self._model, labels)
            left -= window.num_bytes
            kept = [*kept, window] if left >= 0 else []
            yield window
        self._kept = kept if left >= 0 else None


def shared_ngrams(texts: Iterator[LexicalTexts], *, sep_token_id: int | None, at_most: int) -> NgramTable:
    """Return the table of the n-grams that stand in two texts or more, of too many the most frequent.

    Args:
        texts: all of them, once.
        sep_token_id: the tokenizer's separator; None where it has none.
        at_most: how many n-grams.
    """
    highest = np.iinfo(np.uint16).max
    counts = np.zeros(1 << MAX_SLOT_BITS, dtype=np.uint16)
    for part in texts:
        ngrams = hash_ngrams(part.tokens, sep_token_id=sep_token_id)
        text = np.repeat(np.arange(len(ngrams.counts)), ngrams.counts)
        # Each text counts once, however often it has the n-gram.
        pairs = np.unique((slots_of(ngrams.hashes, MAX_SLOT_BITS) << _TEXT_BITS) | text)
        slots, new = np.unique(pairs >> _TEXT_BITS, return_counts=True)
        counts[slots] = np.minimum(counts[slots] + new, highest)
    slots = np.flatnonzero(counts >= min(_MIN_TEXTS, counts.max()))
    if len(slots) > at_most:
        slots = slots[np.argsort(highest - counts[slots], kind="stable")[:at_most]]
    slot_bits = slot_bits_for(len(slots))
    return NgramTable.of_slots(slots >> (MAX_SLOT_BITS - slot_bits), slot_bits=slot_bits)


# A part has fewer texts than tokens.
_TEXT_BITS = _TOKENS_PER_PART.bit_length()


@dataclass(frozen=True, kw_only=True)
class LexicalBatch:
    """Some texts as the branch takes them.

    Attributes:
        bag: their known n-grams.
        logits: (texts, num_labels) float32 of the teacher.
        true_labels: (texts,) int64 likewise; None where none is to be learnt from.
    """

    bag: NgramBag
    logits: Tensor
    true_labels: Tensor | None


def lexical_batches(
    texts: LexicalTexts, table: NgramTable, *, sep_token_id: int | None, batch_size: int
) -> Iterator[LexicalBatch]:
    """Yield the texts in batches, in their order."""
    bag = ngram_bag(texts.tokens, table, sep_token_id=sep_token_id)
    logits = torch.from_numpy(texts.logits)
    true_labels = None if texts.true_labels is None else torch.from_numpy(texts.true_labels)
    for first in range(0, len(logits), batch_size):
        offsets = bag.offsets[first : first + batch_size + 1]
        known = slice(int(offsets[0]), int(offsets[-1]))
        yield LexicalBatch(
            bag=NgramBag(numbers=bag.numbers[known], orders=bag.orders[known], offsets=offsets - offsets[0]),
            logits=logits[first : first + batch_size],
            true_labels=None if true_labels is None else true_labels[first : first + batch_size],
        )
