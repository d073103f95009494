"""What may be answered otherwise than the full model does, of all rows and of those called something."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from model.answers.rule import AnswerRule
from model.checks import DEFAULT_CONFIDENCE, check_confidence
from model.errors import ParameterError
from model.guarantee.binomial import p_value
from model.guarantee.exit_outcomes import ExitOutcomes
from model.messages import format_labels

Flags = npt.NDArray[np.bool_]


class Kind(StrEnum):
    """Which share a part of a constraint is about.

    DISAGREEMENT: of all rows, those with another answer than the full model's.
    MISSED: of the rows that the full model calls something, those that are not called so (1 - recall).
    FALSE: of the rows that are called something, those that the full model does not call so (1 - precision).
    """

    DISAGREEMENT = "disagreement"
    MISSED = "missed"
    FALSE = "false"


@dataclass(frozen=True, kw_only=True)
class ConstraintPart:
    """One share that is to be kept.

    Attributes:
        kind: of which rows.
        name: number of the name that they are called, among those of the answer; None for all rows.
        share: the largest.
    """

    kind: Kind
    name: int | None
    share: float

    def wrong_of(self, outcomes: ExitOutcomes, exits: npt.NDArray[np.int64]) -> Flags:
        """Return which of the rows that this is about are answered wrongly, (rows that it is about,).

        Args:
            outcomes: of some rows.
            exits: (rows,) where they leave, from `exits_taken`.
        """
        if self.name is None:
            return outcomes.disagrees_at(exits)
        calls = outcomes.calls[self.name]
        is_called, by_teacher = calls.at(exits), calls.by_teacher
        return ~is_called[by_teacher] if self.kind is Kind.MISSED else ~by_teacher[is_called]

    def rows(self, outcomes: ExitOutcomes) -> Flags:
        """Return at which exit each row would be among those that this is about, (rows, num_exits)."""
        if self.name is None:
            return np.ones(outcomes.disagrees.shape, dtype=np.bool_)
        calls = outcomes.calls[self.name]
        if self.kind is Kind.FALSE:
            return calls.by_exit
        return np.broadcast_to(calls.by_teacher[:, None], calls.by_exit.shape)


@dataclass(frozen=True, kw_only=True)
class RiskConstraint:
    """How many answers may disagree with the full model's.

    Attributes:
        max_disagreement: largest share of all rows.
        max_missed: by the number of a name, the largest share of the rows that the teacher calls so which may
            not be called so.
        max_false: likewise of the rows that are called so, those that the teacher does not.
        confidence: in how many of many calibrations the constraint is kept, at least.
    """

    max_disagreement: float
    max_missed: Mapping[int, float] = field(default_factory=dict)
    max_false: Mapping[int, float] = field(default_factory=dict)
    confidence: float = DEFAULT_CONFIDENCE

    def __post_init__(self) -> None:
        """Check the shares.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        check_confidence(self.confidence)
        for part in self.parts:
            if not 0 < part.share < 1:
                raise ParameterError(
                    f"`max_{part.kind}` {part.share:g} is not a share above 0 and below 1, as 0.01 for 1 %"
                )

    @property
    def parts(self) -> tuple[ConstraintPart, ...]:
        """All that is to be kept at once, what is said of all rows first."""
        named = [(Kind.MISSED, self.max_missed), (Kind.FALSE, self.max_false)]
        return (
            ConstraintPart(kind=Kind.DISAGREEMENT, name=None, share=self.max_disagreement),
            *(
                ConstraintPart(kind=kind, name=name, share=share)
                for kind, shares in named
                for name, share in shares.items()
            ),
        )

    @property
    def names(self) -> frozenset[int]:
        """The names that something is asked for."""
        return frozenset({*self.max_missed, *self.max_false})

    def p_value(self, outcomes: ExitOutcomes, exits: npt.NDArray[np.int64]) -> float:
        """Return how likely so few wrong answers are where any part of the constraint is broken.

        Of each part, given how many rows it is about: so it is exact for those that the policy calls
        something too, however many these are.

        Args:
            outcomes: of rows that the thresholds were not chosen by.
            exits: (rows,) where they leave, from `exits_taken`.

        Returns:
            The largest p-value of all parts: that each of them is rejected at a level rejects at the same
            level that any is broken (Berger 1982, intersection-union).
        """
        values = []
        for part in self.parts:
            wrong = part.wrong_of(outcomes, exits)
            values.append(p_value(int(wrong.sum()), len(wrong), part.share))
        return max(values)

    def weights(self, outcomes: ExitOutcomes) -> npt.NDArray[np.float64]:
        """Return how much of the constraint a disagreement uses up, (rows, num_exits), mostly 1."""
        weights = np.ones(outcomes.disagrees.shape)
        for part in self.parts[1:]:
            assert part.name is not None
            num_rows = max(int(outcomes.calls[part.name].by_teacher.sum()), 1)
            weights[part.rows(outcomes)] += self.max_disagreement * len(outcomes) / (part.share * num_rows)
        return weights

    def groups(self, outcomes: ExitOutcomes) -> npt.NDArray[np.int64]:
        """Return a number for all rows that the same parts are about, (rows, num_exits)."""
        groups = np.zeros(outcomes.disagrees.shape, dtype=np.int64)
        for part in self.parts[1:]:
            _, groups = np.unique(2 * groups + part.rows(outcomes), return_inverse=True)
            groups = groups.reshape(outcomes.disagrees.shape)
        return groups

    def describe(self, names: Sequence[str]) -> str:
        """Return what may disagree, in the words of the command line."""
        parts = "".join(
            f", max {part.kind} {names[part.name]}={part.share:g}"
            for part in self.parts
            if part.name is not None
        )
        return f"max disagreement {self.max_disagreement:g}{parts}, confidence {self.confidence:g}"


def shares_by_number(
    kind: Kind, shares: Mapping[str, float], rule: AnswerRule, labels: Sequence[str]
) -> dict[int, float]:
    """Return shares that were asked for by name, by the numbers of the names.

    Args:
        kind: of the shares.
        shares: by a label, or by a cut as `>=3`, however it is written.
        rule: which answers are the same.
        labels: of the model, in the order of the logits.

    Raises:
        ParameterError: if nothing is called so, or two are of one name.
    """
    names = rule.names(labels)
    by_number: dict[int, float] = {}
    for name, share in shares.items():
        if not names:
            raise ParameterError(
                f"`max_{kind}` {name}: scores within a tolerance are not called anything; give a cut by "
                "`decide`, as >=3, and say >=3 here"
            )
        spelt = rule.spelt(name)
        if spelt not in names:
            raise ParameterError(
                f"`max_{kind}` {name}: nothing is called so; texts are called {format_labels(names)}"
            )
        if (number := names.index(spelt)) in by_number:
            raise ParameterError(f"`max_{kind}` names {spelt} twice; give one share for it")
        by_number[number] = share
    return by_number
