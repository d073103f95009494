"""What a scheduler is to be told of: conditions on a job's report."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from model.errors import ParameterError
from model.guarantee.drift import Drift
from model.guarantee.promise_check import Finding
from pipeline.results.audit.report import AuditReport

_CONDITION = re.compile(r"(?P<name>[a-z_]+)\s*(?P<sign>[<>])\s*(?P<value>\S+)")
DRIFT, CONTRADICTED = "drift", "contradicted"


def _disagreement(report: AuditReport) -> float:
    """Return the least share that so many disagreements are of: noise fails nothing."""
    return 1 - report.agreement.overall.high


def _accuracy(report: AuditReport) -> float:
    """Return the highest that so many right answers are of."""
    if report.labelled is None:
        raise ParameterError("`fail_on` accuracy is of rows whose label is known: give `labels_input`")
    return report.labelled.overall.accuracy.high


# What is compared, and by which sign a job can fail.
_FIGURES: dict[str, tuple[str, Callable[[AuditReport], float]]] = {
    "disagreement": (">", _disagreement),
    "rejected": (">", lambda report: report.job.rejected.value or 0.0),
    "accuracy": ("<", _accuracy),
    "saved_compute": ("<", lambda report: report.savings.found),
}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """When a job fails.

    Attributes:
        name: of a figure, `drift` or `contradicted`.
        value: what the figure may not be beyond; None of the other two.
    """

    name: str
    value: float | None = None

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Return what `disagreement>0.01`, `accuracy<0.9`, `drift` or `contradicted` says.

        Raises:
            ParameterError: if it says none of these.

        >>> Condition.parse("disagreement>0.01")
        Condition(name='disagreement', value=0.01)
        """
        if text.strip() in (DRIFT, CONTRADICTED):
            return cls(name=text.strip())
        found = _CONDITION.fullmatch(text.strip())
        if found and found["name"] in _FIGURES and found["sign"] == _FIGURES[found["name"]][0]:
            return cls(name=found["name"], value=_number(text, found["value"]))
        figures = ", ".join(f"{name}{sign}NUMBER" for name, (sign, _) in _FIGURES.items())
        raise ParameterError(f"`fail_on` {text!r} is none of {figures}, {DRIFT} and {CONTRADICTED}")

    def alarm(self, report: AuditReport) -> str | None:
        """Return a line if a job fails, None if it does not.

        A share that a sample tells fails where the sample shows it, at 95 %.

        Raises:
            ParameterError: if it can fail no job like this, which a scheduler would never be told.
        """
        self._check_can_be_told(report)
        if self.value is None:
            if self.name == DRIFT and report.drift and report.drift.verdict is Drift.DRIFTED:
                return "drift: the texts are not like those of the calibration"
            if self.name == CONTRADICTED and report.promise.finding is Finding.CONTRADICTED:
                return f"contradicted: {report.promise.verdict}"
            return None
        sign, figure = _FIGURES[self.name]
        found = figure(report)
        beyond = operator.gt if sign == ">" else operator.lt
        bound = {"disagreement": "at least ", "accuracy": "at most "}.get(self.name, "")
        if beyond(found, self.value):
            return f"{self.name}{sign}{self.value:g}: it is {bound}{found:.4g}"
        return None

    def _check_can_be_told(self, report: AuditReport) -> None:
        nothing = {
            CONTRADICTED: report.promise.finding is Finding.NO_PROMISE and "nothing was promised of this job",
            DRIFT: report.drift is None and "nothing is known of the texts that it was calibrated with",
            "disagreement": not report.job.shadow_fraction and "the job has no shadow sample",
        }
        if why := nothing.get(self.name):
            raise ParameterError(f"`fail_on` {self.name} could fail no job like this: {why}; leave it out")


def _number(text: str, written: str) -> float:
    """Return the number of a condition."""
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ParameterError(f"`fail_on` {text!r}: {written} is no number from 0 on")
    return value
