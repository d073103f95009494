"""Texts with a teacher's answers: what branches are trained on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from model.engine.execution import check_finite
from model.errors import InputError
from model.exits.teacher import Teacher
from model.tokens.tokenization import tokenize
from model.training.batching import bucketed_batches, step_seed

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class SoftLabelledTexts:
    """Some texts and what the teacher answers to them. A `SoftLabelSource`, for texts that fit into memory.

    Attributes:
        texts: the texts.
        text_pairs: the second text of each pair, None where texts are single.
        logits: (rows, num_labels) float32 of the teacher.
        num_tokens: (rows,) int64 of the teacher's tokenizer.
        true_labels: (rows,) int64, the place of each text's true label among the logits, `NO_LABEL` of one
            that has none; None where none is to be learnt from.
    """

    texts: list[str]
    text_pairs: list[str] | None
    logits: npt.NDArray[np.float32]
    num_tokens: npt.NDArray[np.int64]
    true_labels: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Check that each text has its pair, its logits and its number of tokens.

        Raises:
            InputError: naming what there are more or fewer of.
        """
        columns = {"text_pairs": self.text_pairs, "logits": self.logits, "num_tokens": self.num_tokens}
        columns |= {"true_labels": self.true_labels}
        for name, values in columns.items():
            if values is not None and len(values) != len(self.texts):
                raise InputError(f"`{name}` has {len(values)} rows, but there are {len(self.texts)} texts")

    @classmethod
    def from_teacher(
        cls,
        teacher: Teacher,
        texts: Sequence[str],
        text_pairs: Sequence[str] | None = None,
        *,
        max_length: int,
    ) -> "SoftLabelledTexts":
        """Ask a teacher for its answers.

        Args:
            teacher: a classifier made ready.
            texts: what to label.
            text_pairs: the second text of each pair.
            max_length: tokens that a text is cut to.

        Raises:
            CheckpointError: if an answer is not finite.
        """
        tokenized = tokenize(teacher.tokenizer, texts, text_pairs, max_length=max_length)
        logits = teacher.logits(tokenized)
        check_finite(logits)
        return cls(
            texts=list(texts),
            text_pairs=None if text_pairs is None else list(text_pairs),
            logits=logits,
            num_tokens=tokenized.lengths,
        )

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int]) -> "SoftLabelledTexts":
        """Return the texts that `rows` names, in that order."""
        indices = np.asarray(rows, dtype=np.int64)
        return SoftLabelledTexts(
            texts=[self.texts[row] for row in rows],
            text_pairs=None if self.text_pairs is None else [self.text_pairs[row] for row in rows],
            logits=self.logits[indices],
            num_tokens=self.num_tokens[indices],
            true_labels=None if self.true_labels is None else self.true_labels[indices],
        )

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return the number of batches of an epoch."""
        return -(-len(self) // batch_size)

    def batches(self, epoch: int, *, batch_size: int, seed: int) -> Iterator["SoftLabelledTexts"]:
        """Yield the batches of an epoch: every row once, rows of a batch of like length, longest first."""
        generator = torch.Generator().manual_seed(step_seed(seed, epoch))
        lengths = torch.from_numpy(self.num_tokens)
        for rows in bucketed_batches(lengths, batch_size, generator=generator):
            yield self.take(rows)


class SoftLabelSource(Protocol):
    """Where the batches of a training come from: texts in memory, or a finished output of `label-teacher`."""

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return the number of batches of an epoch."""

    def batches(self, epoch: int, *, batch_size: int, seed: int) -> Iterator[SoftLabelledTexts]:
        """Yield the batches of an epoch.

        Args:
            epoch: from 0; each is in an order of its own.
            batch_size: rows per batch; the last may be smaller.
            seed: of the order; of equal seeds and epochs, equal batches come in equal order.
        """


def mark_last(items: Iterable[Item]) -> Iterator[tuple[Item, bool]]:
    """Yield each item, and whether it is the last.

    >>> list(mark_last("ab"))
    [('a', False), ('b', True)]
    """
    held: list[Item] = []
    for item in items:
        if held:
            yield held.pop(), False
        held.append(item)
    if held:
        yield held.pop(), True


def token_windows(batches: Iterable[SoftLabelledTexts], max_tokens: int) -> Iterator[list[SoftLabelledTexts]]:
    """Yield runs of batches that hold at most `max_tokens` tokens together, or are one batch."""
    window: list[SoftLabelledTexts] = []
    num_tokens = 0
    for batch in batches:
        num_tokens += int(batch.num_tokens.sum())
        if window and num_tokens > max_tokens:
            yield window
            window, num_tokens = [], int(batch.num_tokens.sum())
        window.append(batch)
    if window:
        yield window


def concatenate(parts: Sequence[SoftLabelledTexts]) -> SoftLabelledTexts:
    """Return all texts of the parts."""
    true_labels = [part.true_labels for part in parts if part.true_labels is not None]
    pairs = [part.text_pairs for part in parts if part.text_pairs is not None]
    return SoftLabelledTexts(
        texts=[text for part in parts for text in part.texts],
        text_pairs=[pair for part in pairs for pair in part] if pairs else None,
        logits=np.concatenate([part.logits for part in parts]),
        num_tokens=np.concatenate([part.num_tokens for part in parts]),
        true_labels=np.concatenate(true_labels) if true_labels else None,
    )
