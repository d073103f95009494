"""What lies where in an output directory.

- ``_JOB.json``: which job writes here, from its start on.
- ``part-00007-of-00042.parquet``: a finished shard.
- ``rejected/part-00007-of-00042.parquet``: the rows of its input that were rejected, if there were any.
- ``_temporary/``: files being written; gone when the job is finished.
- ``_MANIFEST.json``: written last; the job is finished and every shard was verified.
- ``_audit/``: what `audit` found; readers of Parquet directories skip names that start with _.
"""

import json
from dataclasses import dataclass
from typing import Any

from apache_beam.io.filesystems import FileSystems

SHARD_PATTERN = "part-*-of-*.parquet"


@dataclass(frozen=True)
class OutputLayout:
    """The paths of one output directory, on any file system that Beam knows.

    Attributes:
        directory: the output directory.
    """

    directory: str

    def _join(self, *names: str) -> str:
        return str(FileSystems.join(self.directory, *names))

    @property
    def job(self) -> str:
        """The job description."""
        return self._join("_JOB.json")

    @property
    def manifest(self) -> str:
        """The manifest of a finished job."""
        return self._join("_MANIFEST.json")

    @property
    def temporary(self) -> str:
        """The directory of files being written."""
        return self._join("_temporary")

    @property
    def rejected_directory(self) -> str:
        """The directory of rejected rows."""
        return self._join("rejected")

    @property
    def audit_directory(self) -> str:
        """The directory of exit statistics."""
        return self._join("_audit")

    def shard(self, name: str) -> str:
        """Return the path of a shard."""
        return self._join(name)

    def rejected(self, shard_name: str) -> str:
        """Return the path of the rejected rows of a shard's input."""
        return self._join("rejected", shard_name)

    def finished_shards(self) -> list[str]:
        """Return the names of the shards that are there, sorted."""
        return sorted(name_of(path) for path in list_files(self._join(SHARD_PATTERN)))

    def delete(self) -> None:
        """Remove everything that a job wrote, and nothing else."""
        own = [self.manifest, self.temporary, self.rejected_directory, self.audit_directory]
        shards = [self.shard(name) for name in self.finished_shards()]
        # The description goes last: without it the directory could not be recognised as ours.
        for path in (*own, *shards, self.job):
            if FileSystems.exists(path):
                FileSystems.delete([path])


def list_files(pattern: str) -> list[str]:
    """Return the paths that match a pattern, none where there is nothing."""
    (match,) = FileSystems.match([pattern])
    return [metadata.path for metadata in match.metadata_list]


def name_of(path: str) -> str:
    """Return the last part of a path."""
    return str(FileSystems.split(path)[1])


def make_directory(path: str) -> None:
    """Create a directory and its parents unless it is there."""
    try:
        FileSystems.mkdirs(path)
    except OSError:
        # Beam raises where it exists; another worker may have made it a moment ago.
        if not FileSystems.exists(path):
            raise


def read_json(path: str) -> dict[str, Any]:
    """Return the JSON object in a file."""
    with FileSystems.open(path) as file:
        content: dict[str, Any] = json.loads(file.read())
        return content


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write a JSON object whole or not at all, keys sorted, so that equal content is equal bytes."""
    partial = path + ".partial"
    with FileSystems.create(partial, mime_type="application/json") as file:
        file.write(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    FileSystems.rename([partial], [path])
