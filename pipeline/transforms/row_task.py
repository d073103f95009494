"""What a job does with rows, the same on every worker."""

from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import pyarrow as pa

from model.engine.execution import Execution
from pipeline.contract.job import JobSettings
from pipeline.contract.manifest import Manifest
from pipeline.contract.shards import Counts
from pipeline.contract.work_times import WorkTimes
from pipeline.reading.inputs import ReadOptions

Loaded = TypeVar("Loaded")
ManifestType = TypeVar("ManifestType", bound=Manifest, covariant=True)


@dataclass(frozen=True, kw_only=True)
class ProcessedRows:
    """What became of some rows.

    Attributes:
        rows: of the shard.
        rejected: the others, as `schema.rejected_schema` says.
        counts: of the rows of the shard.
        times: of what `process` knows; without what it took to make tables of the answers.
    """

    rows: pa.Table
    rejected: pa.Table
    counts: Counts
    times: WorkTimes = field(default_factory=WorkTimes)


class RowTask(Protocol[Loaded, ManifestType]):
    """What a job does with rows; small, picklable, equal where it does the same."""

    def __hash__(self) -> int:
        """Tell it apart from other tasks of this process."""

    @property
    def reading(self) -> ReadOptions:
        """How rows are read."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the vectors."""

    @property
    def execution(self) -> Execution:
        """Device, precision and micro-batches."""

    @property
    def schema(self) -> pa.Schema:
        """Schema of the shards, without metadata."""

    @property
    def settings(self) -> JobSettings:
        """What changes the results."""

    def manifest(self, **fields: object) -> ManifestType:
        """Return the manifest of the finished job, from the fields that all manifests have."""

    def load(self) -> Loaded:
        """Load what is shared by all items of a process: the model."""

    def process(self, rows: pa.Table, source: str, loaded: Loaded) -> ProcessedRows:
        """Turn accepted rows into rows of the shard, reject those that have no answer, and count."""
