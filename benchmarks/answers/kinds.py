"""Kinds of answers: what may be decided by a model, and what may be promised of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from model.answers.answer import answer_of
from model.answers.rule import AnswerRule, answer_rule
from model.answers.task import Task
from model.guarantee.exit_calibration import ExitCalibration

# What is promised of the rows of one name beside a disagreement of at most A of all: so many times A.
PART_FACTOR = 1.0
# Cuts of scores that are odds, in logits; tolerances, in standard deviations of the scores.
_MIDDLE, _AROUND, _TOLERANCES = ">=0", (">=-2", ">=2"), (0.25, 0.5)
# Of a label, a probability that is asked for where no error is welcome.
_SURE = 0.9
# More labels have too few rows each for a promise of one of them, or a cut.
_FEW_LABELS = 2


@dataclass(frozen=True, kw_only=True)
class AnswerKind:
    """What is decided, and what is promised of one name.

    Attributes:
        name: in the words of the command line.
        rule: which answers are the same.
        missed: names that `max_missed` is given for.
        false: names that `max_false` is given for.
    """

    name: str
    rule: AnswerRule
    missed: tuple[str, ...] = ()
    false: tuple[str, ...] = ()

    def max_missed(self, share: float) -> dict[str, float]:
        """Return what is promised of `missed` beside a disagreement."""
        return dict.fromkeys(self.missed, PART_FACTOR * share)

    def max_false(self, share: float) -> dict[str, float]:
        """Return what is promised of `false` beside a disagreement."""
        return dict.fromkeys(self.false, PART_FACTOR * share)


def kinds_of(calibration: ExitCalibration) -> list[AnswerKind]:
    """Return what is tried of a model, the plainest first."""
    task, labels = calibration.rule.task, calibration.labels
    if task is Task.SCORE:
        deviation = float(calibration.teacher_logits[:, 0].std())
        of_cut = _with_parts(answer_rule(task, labels, decide=(_MIDDLE,)), _MIDDLE, f"`--decide '{_MIDDLE}'`")
        cuts = answer_rule(task, labels, decide=_AROUND)
        return [
            *of_cut,
            AnswerKind(name=" ".join(f"`--decide '{cut}'`" for cut in _AROUND), rule=cuts),
            *(
                AnswerKind(
                    name=f"`--tolerance`, {share:g} standard deviations",
                    rule=answer_rule(task, labels, tolerance=share * deviation),
                )
                for share in _TOLERANCES
            ),
        ]
    label = _most_frequent(calibration, labels)
    if task is Task.LABEL_SET:
        sets = _with_parts(AnswerRule(task=task), label, "sets of labels")
        return [*sets, _cut(task, labels, label, _SURE)]
    if len(labels) > _FEW_LABELS:
        return [AnswerKind(name="labels", rule=AnswerRule(task=task))]
    return [*_with_parts(AnswerRule(task=task), label, "labels"), _cut(task, labels, label, _SURE)]


def _with_parts(rule: AnswerRule, name: str, words: str) -> list[AnswerKind]:
    """Return a rule with nothing promised of a name, and with either promise."""
    return [
        AnswerKind(name=words, rule=rule),
        AnswerKind(name=f"{words}, `--max-missed '{name}=A'`", rule=rule, missed=(name,)),
        AnswerKind(name=f"{words}, `--max-false '{name}=A'`", rule=rule, false=(name,)),
    ]


def _cut(task: Task, labels: Sequence[str], label: str, value: float) -> AnswerKind:
    decide = f"{label}>={value:g}"
    return AnswerKind(name=f"`--decide '{decide}'`", rule=answer_rule(task, labels, decide=(decide,)))


def _most_frequent(calibration: ExitCalibration, labels: Sequence[str]) -> str:
    """Return what the full model calls most texts."""
    answer = answer_of(AnswerRule(task=calibration.rule.task), labels)
    called = answer.calls(torch.from_numpy(calibration.teacher_logits))
    return labels[int(called.sum(dim=0).argmax())]
