"""A corpus job: a task, its input and where its shards go; claimed, run and committed by what drives it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypedDict, TypeVar

from model.checks import check_fraction
from model.engine.execution import Precision
from model.engine.openmp import torch_threads as threads_of_torch
from pipeline.contract import defaults
from pipeline.contract.columns import Columns
from pipeline.contract.job import JobDescription
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import Manifest
from pipeline.contract.output import claim_output, commit
from pipeline.contract.plan import Plan, WorkItem
from pipeline.contract.schema import SCHEMA_VERSION
from pipeline.contract.shards import FINGERPRINT, VERSIONS
from pipeline.contract.typed_json import as_plain
from pipeline.contract.worker_environment import environment, library_versions
from pipeline.contract.worker_errors import raise_worker_error
from pipeline.reading.inputs import Inputs, inspect_inputs
from pipeline.transforms.loaded_models import Holder
from pipeline.transforms.row_task import RowTask

ManifestType = TypeVar("ManifestType", bound=Manifest, covariant=True)


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
        holder: the model as the driver has loaded it, for workers in the same process; it stays there.
        environment: what a worker in another process must have, as `worker_environment` tells it.
    """

    task: RowTask[Any, ManifestType]
    inputs: Inputs
    output: str
    overwrite: bool = False
    verify: bool = False
    max_rejected: float = 1.0
    torch_threads: int | None = None
    holder: Holder[object] | None = field(default=None, repr=False, compare=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, object]:
        """Leave the model behind: a worker in another process loads its own. It writes what is told here."""
        told = {"metadata": self.metadata, "environment": self.environment or environment()}
        return {**vars(self), "holder": None, **told}

    @property
    def layout(self) -> OutputLayout:
        """What lies where in the output directory."""
        return OutputLayout(self.output)

    @cached_property
    def plan(self) -> Plan:
        """Which rows become which shard."""
        return self.inputs.plan()

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
            VERSIONS: _as_metadata(library_versions()),
        }

    def claim(self) -> set[str]:
        """Claim the output directory, and return the names of the shards that are finished already.

        Raises:
            OutputError: if the directory is another job's, or cannot be written.
        """
        versions = _as_metadata(library_versions())
        return claim_output(
            self.layout,
            self.description,
            overwrite=self.overwrite,
            versions=versions,
            verify=self.verify,
        )

    def pending(self, finished: set[str]) -> list[WorkItem]:
        """Return the work items whose shards are not among `finished`."""
        return [item for item in self.plan.items if item.shard_name not in finished]

    def commit(self) -> ManifestType:
        """Verify all shards, and write the manifest.

        Raises:
            FastBertJobsError: what went wrong in a worker.
            OutputError: if a shard does not fit the plan, or too many rows were rejected.
        """
        raise_worker_error(self.layout)
        return commit(
            self.layout,
            self.description,
            self.plan,
            labels=self.task.labels,
            versions=library_versions(),
            build=self.task.manifest,
            max_rejected=self.max_rejected,
        )


class JobOptions(TypedDict, total=False):
    """What every corpus job takes besides its input and its model; the defaults are those of the commands.

    Attributes:
        rows_per_shard: most rows of a shard; None for 10,000, or what the job chooses.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        format: of the input; None to go by the extensions.
        max_rejected: largest share of rows that may be rejected.
        overwrite: whether another job's output may be deleted.
        verify: whether shards that are finished already are read from end to end, and made again where they
            are not what was written.
        torch_threads: threads of a process; None leaves torch's own choice.
    """

    rows_per_shard: int | None
    precision: str
    format: str | None
    max_rejected: float
    overwrite: bool
    verify: bool
    torch_threads: int | None


def prepare_job(
    prepare: Callable[[Inputs, Precision], tuple[RowTask[Any, ManifestType], Holder[Any]]],
    *,
    input: str | Sequence[str],
    columns: Columns,
    output: str,
    rows_per_shard: int | None = None,
    precision: str = "auto",
    format: str | None = None,
    max_rejected: float = 1.0,
    overwrite: bool = False,
    verify: bool = False,
    torch_threads: int | None = None,
) -> CorpusJob[ManifestType]:
    """Return a job over some files; nothing is written yet.

    Args:
        prepare: takes the inspected files and the number format; returns what is done with their rows, and
            the model, loaded.
        input: paths, globs or directories; a single one may be given as it is.
        columns: what is read of the input.
        output: directory of the shards.
        rows_per_shard: see `JobOptions`, as for all that follow.
        precision: likewise.
        format: likewise.
        max_rejected: likewise.
        overwrite: likewise.
        verify: likewise.
        torch_threads: likewise.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    check_fraction("max_rejected", max_rejected)
    if rows_per_shard is None:
        rows_per_shard = defaults.ROWS_PER_SHARD
    inputs = inspect_inputs(as_strings(input), columns, rows_per_shard=rows_per_shard, format=format)
    # The workers of this process get the model that is loaded here.
    with threads_of_torch(torch_threads):
        task, holder = prepare(inputs, Precision.parse(precision))
    return CorpusJob(
        task=task,
        inputs=inputs,
        output=output,
        overwrite=overwrite,
        verify=verify,
        max_rejected=max_rejected,
        torch_threads=torch_threads,
        holder=holder,
    )


def as_strings(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return strings of which a user may give a single one as it is.

    >>> as_strings("rows.tsv")
    ('rows.tsv',)
    """
    return (given,) if isinstance(given, str) else tuple(given)


def _as_metadata(values: Mapping[str, object]) -> str:
    """Return values as they stand in the shards' metadata: equal ones are equal text."""
    return json.dumps(dict(values), sort_keys=True)
