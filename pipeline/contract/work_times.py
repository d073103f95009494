"""Where the seconds of a job went, as its workers tell it: in counters, which every runner can add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from uuid import uuid4

from pipeline.contract.layout import OutputLayout
from pipeline.contract.shards import Counts
from pipeline.contract.storage import list_names, make_directory
from pipeline.contract.typed_json import read_typed, write_typed

_ROWS = "timed_rows"
_OF_PHASE = "microseconds."
_OF_PART = "core_microseconds."
_PER_SECOND = 1_000_000


class Phase(StrEnum):
    """What a worker does with a work item, one after the other."""

    READ = "read"
    TOKENIZE = "tokenize"
    NETWORK = "network"
    WRITE = "write"


@dataclass(frozen=True, kw_only=True)
class WorkTimes:
    """Seconds that workers were at work items, models being loaded already.

    Attributes:
        num_rows: rows read, those that were rejected too.
        phases: seconds by `Phase`, summed over workers; empty where a runner does not tell.
        parts: core-seconds by part of the network, as an engine's stopwatch tells them; empty on a GPU.
    """

    num_rows: int = 0
    phases: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def busy_seconds(self) -> float:
        """All of them."""
        return sum(self.phases.values())

    def __add__(self, other: WorkTimes) -> WorkTimes:
        return WorkTimes(
            num_rows=self.num_rows + other.num_rows,
            phases=_sums(self.phases, other.phases),
            parts=_sums(self.parts, other.parts),
        )

    def as_counts(self) -> Counts:
        """Return them as counters, for `of_counts`."""
        return {
            _ROWS: self.num_rows,
            **{_OF_PHASE + phase: round(seconds * _PER_SECOND) for phase, seconds in self.phases.items()},
            **{_OF_PART + part: round(seconds * _PER_SECOND) for part, seconds in self.parts.items()},
        }

    @classmethod
    def of_counts(cls, counts: Mapping[str, int]) -> Self:
        """Return the times among some counters."""
        return cls(
            num_rows=counts.get(_ROWS, 0),
            phases=_seconds(counts, _OF_PHASE),
            parts=_seconds(counts, _OF_PART),
        )


def _sums(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {**one, **other}}


def _seconds(counts: Mapping[str, int], prefix: str) -> dict[str, float]:
    return {
        name.removeprefix(prefix): count / _PER_SECOND
        for name, count in counts.items()
        if name.startswith(prefix)
    }


@dataclass(frozen=True, kw_only=True)
class RunTimes:
    """What a run took of a job: of all of it, or of what earlier runs had left.

    Attributes:
        fingerprint: of the job.
        wall_seconds: from the first work item to the last.
        work: of its workers.
    """

    fingerprint: str
    wall_seconds: float
    work: WorkTimes


def write_run_times(layout: OutputLayout, times: RunTimes) -> None:
    """Write down what a run took, in a file of its own: others may run other parts of the job meanwhile."""
    name = f"{uuid4().hex}.json"
    make_directory(layout.times_directory)
    # What a killed run leaves there goes with the job's other files.
    make_directory(layout.temporary)
    write_typed(layout.run_times(name), times, partial=layout.partial(name))


def read_run_times(layout: OutputLayout, fingerprint: str) -> list[RunTimes]:
    """Return what the runs of a job took that came to their end, in no order.

    Args:
        layout: where it is.
        fingerprint: of the job.

    Raises:
        ArtifactError: if a file of them is damaged.
    """
    names = list_names(layout.times_directory, "*.json")
    runs = [read_typed(layout.run_times(name), RunTimes, cure="remove it") for name in names]
    return [run for run in runs if run.fingerprint == fingerprint]
