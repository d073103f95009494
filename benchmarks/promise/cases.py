"""What is simulated: populations, and what is promised of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from benchmarks.promise.populations import (
    MakePopulation,
    Texts,
    anti_correlated,
    cliff,
    heavy_tailed,
    just_above,
    tied,
)

SIX_PROMISES = "the six promises of calibrate's table"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A population, what is promised of it, and how many texts calibrate."""

    name: str
    make: MakePopulation
    num_labels: int
    num_rows: int = 1_500
    share: float = 0.05
    max_missed: Mapping[int, float] = field(default_factory=dict)

    @cached_property
    def texts(self) -> Texts:
        return self.make(self.num_labels, self.share)

    @property
    def max_missed_by_name(self) -> dict[str, float]:
        return {f"label {label}": share for label, share in self.max_missed.items()}


CASES = (
    Case(name="heavy-tailed", make=heavy_tailed, num_labels=2),
    Case(name="surer when wrong", make=anti_correlated, num_labels=2),
    Case(name="wrong just above A, whatever the uncertainty", make=just_above, num_labels=5),
    Case(name="few uncertainties, many ties", make=tied, num_labels=5),
    Case(name="a cliff: just above A at once, or nothing", make=cliff, num_labels=2),
    Case(name="copies, each text counted once", make=heavy_tailed, num_labels=5),
    Case(name="many labels", make=heavy_tailed, num_labels=150),
    Case(
        name="heavy-tailed, two labels promised too",
        make=heavy_tailed,
        num_labels=5,
        num_rows=3_000,
        max_missed={1: 0.08, 3: 0.12},
    ),
    Case(
        name="surer when wrong, three labels promised too",
        make=anti_correlated,
        num_labels=5,
        num_rows=3_000,
        max_missed={0: 0.07, 1: 0.08, 3: 0.12},
    ),
)
