"""What a worker knows of a job: not its input files, nor its plan, however large these are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import Manifest
from pipeline.contract.worker_environment import environment
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.row_task import RowTask


@dataclass(frozen=True, kw_only=True)
class ItemJob:
    """What is done with a work item, whichever it is; it goes to every worker.

    Attributes:
        task: what is done with its rows.
        output: the output directory.
        metadata: of every shard, the job's fingerprint in it.
        environment: what a worker must have, as `worker_environment` tells it.
        torch_threads: threads of a process; None leaves torch's own choice.
        part_names: see `CorpusJob.part_names`.
    """

    task: RowTask[Any, Manifest]
    output: str
    metadata: Mapping[str, str]
    environment: Mapping[str, str]
    torch_threads: int | None
    part_names: frozenset[str] | None

    @classmethod
    def of(cls, job: CorpusJob[Manifest]) -> Self:
        """Return what the workers of a job must know of it."""
        return cls(
            task=job.task,
            output=job.output,
            metadata=job.metadata,
            environment=environment(),
            torch_threads=job.torch_threads,
            part_names=job.part_names,
        )

    @property
    def layout(self) -> OutputLayout:
        """What lies where in the output directory."""
        return OutputLayout(self.output)
