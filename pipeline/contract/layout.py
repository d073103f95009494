"""What lies where in an output directory.

- ``_JOB.json``: which job writes here, from its start on.
- ``_PLAN.parquet``: of a job that is done in parts, its input files and how they are cut.
- ``part-00007-of-00042.parquet``: a finished shard.
- ``rejected/part-00007-of-00042.parquet``: the rows of its input that were rejected, if there were any.
- ``_temporary/``: files being written, and ``errors/`` of workers; gone when the job is finished.
- ``_MANIFEST.json``: written last; the job is finished and every shard was verified.
- ``_times/``: what the runs of the job took, a file each; the rest does not depend on how often it was
  interrupted, this does.
- ``_audit/``: what `audit` found; readers of Parquet directories skip names that start with _.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from pipeline.contract.storage import (
    basename,
    check_file_system,
    delete_directory,
    delete_files,
    has_files,
    is_local,
    list_names,
    partial_path,
)

SHARD_PATTERN = "part-*-of-*.parquet"
_TEMPORARY, _ERRORS = "_temporary", "errors"


@dataclass(frozen=True)
class OutputLayout:
    """The paths of one output directory, on any file system that Beam knows.

    Attributes:
        directory: the output directory.
    """

    directory: str

    def __post_init__(self) -> None:
        """Refuse a directory on a file system that Beam does not know, or lacks a library for.

        Raises:
            OutputError: saying what is missing.
        """
        check_file_system(self.directory)

    def _join(self, *names: str) -> str:
        return str(FileSystems.join(self.directory, *names))

    @property
    def job(self) -> str:
        """The job description."""
        return self._join("_JOB.json")

    @property
    def plan(self) -> str:
        """The input files of a job that is done in parts."""
        return self._join("_PLAN.parquet")

    @property
    def manifest(self) -> str:
        """The manifest of a finished job."""
        return self._join("_MANIFEST.json")

    @property
    def temporary(self) -> str:
        """The directory of files being written."""
        return self._join(_TEMPORARY)

    def partial(self, name: str) -> str:
        """Return the path of a file that is being written."""
        return self._join(_TEMPORARY, name)

    @property
    def worker_errors(self) -> str:
        """The directory of what went wrong in workers."""
        return self._join(_TEMPORARY, _ERRORS)

    def worker_error(self, shard_name: str) -> str:
        """Return the path of what went wrong with a shard."""
        return self._join(_TEMPORARY, _ERRORS, f"{shard_name}.json")

    @property
    def rejected_directory(self) -> str:
        """The directory of rejected rows."""
        return self._join("rejected")

    @property
    def audit_directory(self) -> str:
        """The directory of exit statistics."""
        return self._join("_audit")

    @property
    def times_directory(self) -> str:
        """The directory of what the job's runs took."""
        return self._join("_times")

    def run_times(self, name: str) -> str:
        """Return the path of what a run took."""
        return self._join("_times", name)

    def shard(self, name: str) -> str:
        """Return the path of a shard."""
        return self._join(name)

    def rejected(self, shard_name: str) -> str:
        """Return the path of the rejected rows of a shard's input."""
        return self._join("rejected", shard_name)

    def finished_shards(self) -> list[str]:
        """Return the names of the shards that are there, sorted."""
        return list_names(self.directory, SHARD_PATTERN)

    def rejected_shards(self) -> list[str]:
        """Return the names of the shards of whose input rows were rejected, sorted."""
        return list_names(self.rejected_directory, SHARD_PATTERN)

    def contains(self, path: str) -> bool:
        """Return whether a file lies in the directory or below, however the two are spelt."""
        if not (is_local(self.directory) and is_local(path)):
            return path.startswith(self.directory.rstrip("/") + "/")
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.directory))

    def is_foreign(self) -> bool:
        """Return whether a directory without a job description holds files, which are then not ours."""
        # But for the description itself, where a run was killed as it wrote it.
        return has_files(self.directory, but=basename(self._job_partial))

    @property
    def _job_partial(self) -> str:
        return partial_path(self.job)

    def delete(self) -> None:
        """Remove everything that a job wrote, and nothing else."""
        for path in (self.manifest, self.plan):
            delete_files([path, partial_path(path)])
        for directory in (
            self.temporary,
            self.rejected_directory,
            self.times_directory,
            self.audit_directory,
        ):
            delete_directory(directory)
        delete_files([self.shard(name) for name in self.finished_shards()])
        # The description goes last: without it the directory could not be recognised as ours.
        delete_files([self._job_partial, self.job])

    def discard_shards(self, names: list[str]) -> None:
        """Remove shards that are to be made again, their rejected rows, and the manifest that lists them."""
        if names:
            # In this order: a shard is finished only while its rejected rows are there.
            delete_files([self.manifest])
            delete_files([self.shard(name) for name in names])
            delete_files([self.rejected(name) for name in names])
