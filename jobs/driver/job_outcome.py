"""What a finished corpus job says of itself."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.contract.manifest import NOT_FINITE, REJECTED, ROWS, Manifest
from pipeline.transforms.corpus_job import CorpusJob

ManifestType = TypeVar("ManifestType", bound=Manifest)


@dataclass(frozen=True, kw_only=True)
class JobOutcome(Generic[ManifestType]):
    """A finished job.

    Attributes:
        manifest: what was written.
        seconds: how long this run's pipeline took.
        busy_seconds: of it, how long workers were at work items, models being loaded already; summed over
            the workers, and 0 where the runner does not tell.
        num_rows_now: rows that this run accounted for; the others were finished before.
    """

    manifest: ManifestType
    seconds: float
    busy_seconds: float
    num_rows_now: int

    @property
    def num_rows(self) -> int:
        """Rows in the shards."""
        return self.manifest.counts.get(ROWS, 0)

    @property
    def num_rejected(self) -> int:
        """Rows that were rejected."""
        return self.manifest.counts.get(REJECTED, 0)

    def describe_rows(self) -> str:
        """Return one line about rows and speed."""
        text = f"{self.num_rows:,} rows, {self.num_rejected:,} rejected"
        if no_numbers := self.manifest.counts.get(NOT_FINITE, 0):
            text += f", {no_numbers:,} of them since the model's answer is NaN or infinite"
        earlier = self.num_rows + self.num_rejected - self.num_rows_now
        if earlier:
            text += f" ({earlier:,} of them finished before)"
        if self.num_rows_now and self.seconds > 0:
            text += f", {self.num_rows_now / self.seconds:,.0f} rows/s"
        return text


def describe_input(job: CorpusJob[Manifest]) -> str:
    """Return one line about the input files of a job, for the user.

    Example: 2 files, 7 shards, 67,349 rows
    """
    plan, num_files = job.plan, len(job.inputs.sources)
    files = f"{num_files:,} file{'s' if num_files > 1 else ''}"
    shards = f"{len(plan.items):,} shard{'s' if len(plan.items) > 1 else ''}"
    rows = "" if plan.num_rows is None else f", {plan.num_rows:,} rows"
    return f"{files}, {shards}{rows}"
