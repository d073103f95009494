"""Texts with their true labels: what a classifier is fine-tuned on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from model.errors import InputError

# The label of a text; all that hold of it, where several may; or the number that it is to be answered with.
Label: TypeAlias = str | tuple[str, ...] | float
# In place of the number of a true label, its place among the logits, where a text has none.
NO_LABEL = -1


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Texts and their labels.

    Attributes:
        texts: the texts.
        text_pairs: the second text of each pair, None where texts are single.
        labels: the label of each, as text; a tuple of labels, maybe an empty one, where several may hold; a
            finite number for a regression.
        num_rejected: rows left out where they were read, for want of a text or a label.
    """

    texts: list[str]
    text_pairs: list[str] | None = None
    labels: Sequence[Label]
    num_rejected: int = 0

    def __post_init__(self) -> None:
        """Check that each text has its pair and its label.

        Raises:
            InputError: naming what there are more or fewer of.
        """
        for name, values in (("text_pairs", self.text_pairs), ("labels", self.labels)):
            if values is not None and len(values) != len(self.texts):
                raise InputError(f"`{name}` has {len(values)} rows, but there are {len(self.texts)} texts")

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that occur, in order, each once; none of a regression."""
        return sorted_labels(name for label in self.labels for name in names_of(label))

    def take(self, rows: Sequence[int], *, num_rejected: int = 0) -> "LabelledTexts":
        """Return the texts that `rows` names, in that order."""
        return LabelledTexts(
            texts=[self.texts[row] for row in rows],
            text_pairs=None if self.text_pairs is None else [self.text_pairs[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            num_rejected=num_rejected,
        )


def names_of(label: Label) -> tuple[str, ...]:
    """Return the names of the labels that hold.

    >>> names_of("a"), names_of(("a", "b")), names_of(0.5)
    (('a',), ('a', 'b'), ())
    """
    if isinstance(label, str):
        return (label,)
    return label if isinstance(label, tuple) else ()


def sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels in order, whole numbers by their value, and equal ones as they are spelt.

    >>> sorted_labels(["b", "a", "b"]), sorted_labels(["10", "9", "010"])
    (('a', 'b'), ('9', '010', '10'))
    """
    distinct = set(labels)
    if all(label.removeprefix("-").isdecimal() for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))
