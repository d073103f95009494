"""Texts with their true labels: what a classifier is fine-tuned on."""

from collections.abc import Sequence
from dataclasses import dataclass

from model.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Texts and their labels.

    Attributes:
        texts: the texts.
        text_pairs: the second text of each pair, None where texts are single.
        labels: the label of each, as text.
        num_rejected: rows left out where they were read, for want of a text or a label.
    """

    texts: list[str]
    text_pairs: list[str] | None = None
    labels: list[str]
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


def sorted_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the distinct labels in order, whole numbers by their value.

    >>> sorted_labels(["b", "a", "b"]), sorted_labels(["10", "9"])
    (('a', 'b'), ('9', '10'))
    """
    distinct = set(labels)
    if all(label.removeprefix("-").isdecimal() for label in distinct):
        return tuple(sorted(distinct, key=int))
    return tuple(sorted(distinct))
