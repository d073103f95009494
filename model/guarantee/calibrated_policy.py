"""A policy with what it rests on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from model.exits.policy import ExitPolicy
from model.guarantee.risk_control import Evidence

# Under what a manifest's environment tells of such a policy.
CERTIFICATE = "certificate"


@dataclass(frozen=True, kw_only=True)
class CalibratedPolicy(ExitPolicy):
    """A policy that calibration rows gave, and what is known of it.

    Attributes:
        is_certified: whether it is certified to keep what was asked for; full depth, where nothing could be,
            is not.
        speed_up: saved compute to expect, from rows that it was not chosen by.
        evidence: what it did on these rows.
        max_disagreement: what was asked for, None where it was something else.
        target_speedup: likewise.
        note: what else there is to say; empty for nothing.
    """

    is_certified: bool
    speed_up: float
    evidence: Evidence
    max_disagreement: float | None = None
    target_speedup: float | None = None
    note: str = ""

    def as_json(self, labels: tuple[str, ...]) -> dict[str, Any]:
        """Return what a manifest tells of it."""
        found = asdict(self.evidence)
        missed = {
            labels[label]: {"num_wrong": wrong, "num_rows": rows, "wrong_bound": bound}
            for label, (wrong, rows, bound) in self.evidence.missed.items()
        }
        return {
            "policy": self.name,
            "thresholds": list(self.thresholds),
            "temperatures": list(self.temperatures),
            "is_certified": self.is_certified,
            "speed_up": self.speed_up,
            "max_disagreement": self.max_disagreement,
            "target_speedup": self.target_speedup,
            "note": self.note,
            **found,
            "missed": missed,
        }
