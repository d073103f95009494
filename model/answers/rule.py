"""Which answers are the same: what the user decides by, as command lines and manifests write it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from model.answers.task import Task
from model.errors import ParameterError
from model.messages import format_labels


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A value from which on a text is called something.

    Attributes:
        label: whose probability it is of; empty for a score's.
        value: of the probability, or of the score.
    """

    label: str
    value: float

    @classmethod
    def parse(cls, text: str) -> "Cut":
        """Return what `LABEL>=PROBABILITY` or `>=SCORE` says.

        Raises:
            ParameterError: if it says neither.

        >>> Cut.parse("spam>=0.9")
        Cut(label='spam', value=0.9)
        """
        label, sign, value = text.rpartition(">=")
        try:
            if not (sign and math.isfinite(float(value))):
                raise ValueError
            # -0.0 equals 0.0, and jobs that are equal have to be written alike.
            return cls(label=label.strip(), value=float(value) + 0.0)
        except ValueError:
            raise ParameterError(
                f"`decide` {text!r} is neither LABEL>=PROBABILITY, as spam>=0.9, nor >=SCORE, as >=3"
            ) from None

    def __str__(self) -> str:
        # No two cuts have one name.
        return f"{self.label}>={repr(self.value).removesuffix('.0')}"


@dataclass(frozen=True, kw_only=True)
class AnswerRule:
    """What a model's logits mean, and which of two answers count as the same.

    Attributes:
        task: what the logits mean.
        cuts: of scores in rising order, of labels in the model's; none for the task's own answer.
        tolerance: by which two scores may differ; None for anything else than scores without cuts.
    """

    task: Task
    cuts: tuple[Cut, ...] = ()
    tolerance: float | None = None

    def __str__(self) -> str:
        if self.cuts:
            return ", ".join(map(str, self.cuts))
        if self.tolerance is not None:
            return f"scores within {self.tolerance:g}"
        return {Task.ONE_LABEL: "labels", Task.LABEL_SET: "sets of labels", Task.SCORE: "scores"}[self.task]

    @property
    def is_decidable(self) -> bool:
        """Whether two answers can be the same: of scores, what counts as the same has to be said."""
        return self.task is not Task.SCORE or bool(self.cuts) or self.tolerance is not None

    @property
    def calls_one_label(self) -> bool:
        """Whether each text is called exactly one of the labels."""
        return self.task is Task.ONE_LABEL and not self.cuts

    def names(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Return what a text may be called, (K,): labels, or cuts of a score; nothing within a tolerance.

        Args:
            labels: of the model, in the order of the logits.

        >>> AnswerRule(task=Task.ONE_LABEL, cuts=(Cut.parse("spam>=0.9"),)).names(["ham", "spam"])
        ('spam',)
        """
        if self.task is Task.SCORE:
            return tuple(map(str, self.cuts))
        if self.task is Task.LABEL_SET or not self.cuts:
            return tuple(labels)
        return tuple(cut.label for cut in self.cuts)

    def spelt(self, name: str) -> str:
        """Return what a text may be called as `names` spells it: of a score a cut may be written otherwise.

        >>> AnswerRule(task=Task.SCORE, cuts=(Cut.parse(">=3"),)).spelt(">=3.0")
        '>=3'
        """
        is_cut = self.task is Task.SCORE and name.lstrip().startswith(">=")
        return str(Cut.parse(name)) if is_cut else name


def answer_rule(
    task: Task, labels: Sequence[str], *, decide: Sequence[str] = (), tolerance: float | None = None
) -> AnswerRule:
    """Return the rule of what a user asks for.

    Args:
        task: of the model.
        labels: of the model, in the order of the logits.
        decide: cuts, as `spam>=0.9` or `>=3`.
        tolerance: by which two scores may differ.

    Raises:
        ParameterError: if a cut is none, is of a label that the model has not, or out of range; or if the
            model has no scores to compare.
    """
    cuts = tuple(map(Cut.parse, decide))
    for cut in cuts:
        _check_cut(cut, task, labels)
    if len({(cut.label, cut.value if task is Task.SCORE else 0) for cut in cuts}) < len(cuts):
        raise ParameterError(f"`decide` {', '.join(decide)}: give one cut per label, and no cut twice")
    if tolerance is not None:
        if task is not Task.SCORE:
            raise ParameterError("`tolerance` is of scores, and this model answers with labels: leave it out")
        if cuts:
            raise ParameterError("give one of `decide` and `tolerance`")
        if not 0 < tolerance < math.inf:
            raise ParameterError(f"`tolerance` {tolerance:g} is not above 0")
    order = list(labels)
    in_order = sorted(cuts, key=lambda cut: (order.index(cut.label) if cut.label else 0, cut.value))
    return AnswerRule(task=task, cuts=tuple(in_order), tolerance=tolerance)


def _check_cut(cut: Cut, task: Task, labels: Sequence[str]) -> None:
    if task is Task.SCORE:
        if cut.label:
            of_score = Cut(label="", value=cut.value)
            raise ParameterError(f"`decide` {cut}: this model answers with a score: say {of_score}")
        return
    if not cut.label:
        raise ParameterError(
            f"`decide` {cut} names no label; say one of {format_labels(tuple(labels))}, as {labels[0]}>=0.9"
        )
    if cut.label not in labels:
        raise ParameterError(
            f"`decide` {cut}: the model has no such label; it has {format_labels(tuple(labels))}"
        )
    if not 0 < cut.value < 1:
        raise ParameterError(f"`decide` {cut}: a probability lies above 0 and below 1")


def check_decidable(rule: AnswerRule) -> None:
    """Refuse to compare scores of which nobody said when two are the same.

    Raises:
        ParameterError: naming the cure.
    """
    if not rule.is_decidable:
        raise ParameterError(
            "the model answers with a score: say by `decide` at which cut it counts, as >=3, or by "
            "`tolerance` how much it may differ"
        )
