"""A corpus job: a task, its input and where its shards go; claimed, run and committed by what drives it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from model.errors import OutputError
from pipeline.contract.item_ranges import ItemRanges
from pipeline.contract.job import JobDescription
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import Manifest
from pipeline.contract.output import claim_output, claim_shards, commit
from pipeline.contract.plan import Plan, WorkItem
from pipeline.contract.schema import SCHEMA_VERSION
from pipeline.contract.shards import FINGERPRINT, VERSIONS
from pipeline.contract.typed_json import as_plain
from pipeline.contract.worker_environment import library_versions
from pipeline.contract.worker_errors import forget_worker_errors, num_worker_errors, raise_worker_error
from pipeline.reading.inputs import Inputs
from pipeline.transforms.loaded_models import Holder
from pipeline.transforms.row_task import RowTask

ManifestType = TypeVar("ManifestType", bound=Manifest, covariant=True)


@dataclass(frozen=True, kw_only=True)
class JobPart:
    """Some work items of a job that was planned before.

    Attributes:
        inputs: the input files as they were found then.
        items: which of the work items.
        versions: of the libraries then, as `library_versions` tells them.
    """

    inputs: Inputs
    items: ItemRanges
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class CorpusJob(Generic[ManifestType]):
    """All that a corpus job is made of.

    Attributes:
        task: what is done with rows.
        inputs: the input files.
        output: the output directory.
        overwrite: whether another job's output there may be deleted.
        verify: whether shards that are finished already are read from end to end, and made again where they
            are not what was written.
        max_rejected: largest share of rows that may be rejected.
        torch_threads: threads of a process; None leaves torch's own choice.
        part: what is done here of a job that was planned, while others may do other parts; None for a whole
            job, which has its directory to itself.
        holder: the model as the driver has loaded it, for workers in the same process; it stays there.
    """

    task: RowTask[Any, ManifestType]
    inputs: Inputs
    output: str
    overwrite: bool = False
    verify: bool = False
    max_rejected: float = 1.0
    torch_threads: int | None = None
    part: JobPart | None = None
    holder: Holder[object] | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, object]:
        """Leave behind the model, and what is found again from the input: a Beam graph has its limits.

        The versions are those of the machine that started the job.
        """
        found_again = {"plan", "items", "part_names", "description"}
        kept = {name: value for name, value in vars(self).items() if name not in found_again}
        return {**kept, "holder": None, "versions": self.versions}

    @property
    def layout(self) -> OutputLayout:
        """What lies where in the output directory."""
        return OutputLayout(self.output)

    @cached_property
    def plan(self) -> Plan:
        """Which rows become which shard."""
        return self.inputs.plan()

    @cached_property
    def items(self) -> tuple[WorkItem, ...]:
        """The work items that are done here.

        Raises:
            ParameterError: if the part names some that there are not.
        """
        return self.plan.items if self.part is None else self.part.items.select(self.plan.items)

    @cached_property
    def part_names(self) -> frozenset[str] | None:
        """The names of the part's shards; None for a whole job."""
        return None if self.part is None else frozenset(item.shard_name for item in self.items)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The libraries' versions that shards and manifest tell; those of the plan, where there was one."""
        return library_versions() if self.part is None else self.part.versions

    @cached_property
    def description(self) -> JobDescription:
        """All that changes the results."""
        return JobDescription(settings=self.task.settings, inputs=self.inputs.describe())

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What goes into every shard's schema under `fastbert.*`."""
        return {
            FINGERPRINT: self.description.fingerprint,
            "schema_version": str(SCHEMA_VERSION),
            "command": self.task.settings.command,
            "labels": json.dumps(self.task.labels),
            "settings": _as_metadata(as_plain(self.task.settings)),
            VERSIONS: _as_metadata(self.versions),
        }

    def claim(self) -> set[str]:
        """Claim the output directory, and return the names of the shards that are finished already.

        Of a part nothing is claimed, for its plan has done so.

        Raises:
            OutputError: if the directory is another job's, or cannot be written.
        """
        versions = _as_metadata(self.versions)
        if self.part_names is not None:
            return claim_shards(
                self.layout, self.description, self.part_names, versions=versions, verify=self.verify
            )
        return claim_output(
            self.layout,
            self.description,
            overwrite=self.overwrite,
            versions=versions,
            verify=self.verify,
        )

    def pending(self, finished: set[str]) -> list[WorkItem]:
        """Return the work items whose shards are not among `finished`."""
        return [item for item in self.items if item.shard_name not in finished]

    def forget_errors(self) -> None:
        """Remove what earlier attempts at the items of this part left of what went wrong."""
        forget_worker_errors(self.layout, self.part_names)

    def check_finished(self, finished: set[str]) -> None:
        """Make sure that the shards of all items are there.

        Args:
            finished: the names of those that are.

        Raises:
            FastBertJobsError: what went wrong in a worker with one that is missing.
            OutputError: naming the items that are not done.
        """
        missing = self.pending(finished)
        raise_worker_error(self.layout, {item.shard_name for item in missing})
        if missing:
            numbers = ItemRanges.of(item.index for item in missing)
            share = f"{len(missing):,} of {len(self.plan.items):,}"
            raise OutputError(
                f"{self.output!r} lacks the shards of {share} items: run the same command with `items` "
                f"{numbers}, and then with `finish`"
            )

    def commit(self) -> ManifestType:
        """Verify all shards, and write the manifest.

        Raises:
            FastBertJobsError: what went wrong in a worker.
            OutputError: if a shard does not fit the plan, or too many rows were rejected.
        """
        if num_worker_errors(self.layout):
            # Not what went wrong with an item that was then done by another worker.
            missing = self.pending(set(self.layout.finished_shards()))
            raise_worker_error(self.layout, {item.shard_name for item in missing})
        return commit(
            self.layout,
            self.description,
            self.plan,
            labels=self.task.labels,
            versions=self.versions,
            build=self.task.manifest,
            max_rejected=self.max_rejected,
        )


def _as_metadata(values: Mapping[str, object]) -> str:
    """Return values as they stand in the shards' metadata: equal ones are equal text."""
    return json.dumps(dict(values), sort_keys=True)
