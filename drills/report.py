"""What a drill has found."""

from dataclasses import dataclass, field


@dataclass
class Report:
    """How often something held, and where it did not.

    Attributes:
        name: of the drill.
        num_tried: how much was tried.
        broken: what did not hold, a line each.
        notes: what was measured on the way.
    """

    name: str
    num_tried: int = 0
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, holds: bool, what: str) -> None:
        """Count something that was tried, and what it was where it does not hold."""
        self.num_tried += 1
        if not holds:
            self.broken.append(what)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.num_tried - len(self.broken):,} of {self.num_tried:,} held"]
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  BROKEN: {what}" for what in self.broken]
        return "\n".join(lines)
