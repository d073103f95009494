"""Which job an output directory belongs to, and that it is finished.

The fingerprint covers all that changes results and nothing else: not the runner, not the number of workers,
not where the output lies. A rerun with the same fingerprint goes on where the last one stopped; another job
on the same directory is refused.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apache_beam.io.filesystems import FileSystems

from model.errors import ArtifactError, OutputError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.plan import Plan
from pipeline.contract.schema import SCHEMA_VERSION
from pipeline.contract.shards import Counts, ShardFooter, read_footer
from pipeline.contract.storage import delete_directory, list_files, make_directory, read_json, write_json

REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class JobDescription:
    """All that changes a job's results.

    Attributes:
        command: `score` or `label-teacher`.
        settings: model hash, policy, precision, columns and the like: plain JSON values.
        inputs: the input files, told apart by path, size and checksum.
    """

    command: str
    settings: Mapping[str, Any]
    inputs: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return the description as it is written to disk."""
        content = {
            "command": self.command,
            "schema_version": SCHEMA_VERSION,
            **self.settings,
            "inputs": self.inputs,
        }
        # As it comes back from disk: tuples are lists there.
        as_read: dict[str, Any] = json.loads(json.dumps(content))
        return as_read

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the description, 64 hexadecimal digits."""
        canonical = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Say in one line what two job descriptions differ in.

    >>> differences({"speed": 0.5, "inputs": [1]}, {"speed": 0.1, "inputs": [2]})
    'speed (0.1 there, 0.5 asked for), inputs'
    """
    named = []
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        there, here = theirs.get(key), ours.get(key)
        if there != here:
            short = all(len(str(value)) <= 40 for value in (there, here)) and key != "inputs"
            named.append(f"{key} ({there} there, {here} asked for)" if short else key)
    return ", ".join(named)


def claim_output(
    layout: OutputLayout, job: JobDescription, *, overwrite: bool, versions: str = ""
) -> set[str]:
    """Claim an output directory, and return the names of the shards that are finished already.

    Shards that were made with other library versions are removed, to be made again.

    Args:
        layout: the output directory.
        job: what is to run there.
        overwrite: whether our own output there, of whatever job, is deleted.
        versions: of the libraries, as the shards' metadata have them.

    Raises:
        OutputError: if the directory holds another job's output, or something that is not ours.
    """
    if Path(layout.directory).is_file():
        raise OutputError(f"{layout.directory!r} is a file; choose another `output`")
    if FileSystems.exists(layout.job):
        there = read_json(layout.job)
        if overwrite:
            layout.delete()
        elif there != job.as_json():
            raise OutputError(
                f"{layout.directory!r} holds another job, which differs in "
                f"{differences(job.as_json(), there)}; choose another `output`, or `overwrite` it"
            )
    elif list_files(FileSystems.join(layout.directory, "**")):
        raise OutputError(
            f"{layout.directory!r} is not empty and holds no job of ours; choose another `output`"
        )
    try:
        make_directory(layout.directory)
        write_json(layout.job, job.as_json())
    except OSError as error:
        raise OutputError(f"{layout.directory!r} cannot be written: {error}") from error
    return _finished(layout, job, versions)


def _finished(layout: OutputLayout, job: JobDescription, versions: str) -> set[str]:
    """Return the names of the shards that are finished, without those of other library versions."""
    footers = (read_footer(layout, name) for name in layout.finished_shards())
    ours = [footer for footer in footers if footer and footer.fingerprint == job.fingerprint]
    layout.discard_shards([footer.name for footer in ours if footer.versions != versions])
    return {footer.name for footer in ours if footer.versions == versions}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A finished job.

    Attributes:
        description: the job, as `JobDescription.as_json` gives it.
        fingerprint: of the job.
        labels: label names in the order of the vectors.
        environment: library versions, device and what else the driver noted when it finished the job.
        shards: name, rows and counts of each shard, in order.
    """

    description: dict[str, Any]
    fingerprint: str
    labels: list[str]
    environment: dict[str, Any]
    shards: list[dict[str, Any]]

    @property
    def counts(self) -> Counts:
        """The sum of all shards' counts, and their rows."""
        total: Counter[str] = Counter()
        for shard in self.shards:
            total.update(shard["counts"])
            total["rows"] += shard["rows"]
        return dict(total)

    @property
    def shard_names(self) -> list[str]:
        """The shards' file names, in order."""
        return [shard["name"] for shard in self.shards]


def commit(
    layout: OutputLayout,
    job: JobDescription,
    plan: Plan,
    *,
    labels: tuple[str, ...],
    environment: Mapping[str, Any],
    max_rejected: float = 1.0,
) -> Manifest:
    """Verify every shard against the plan, write the manifest, remove what is left over.

    Args:
        layout: the output directory.
        job: what was run there.
        plan: which shards there must be, and the rows that each accounts for.
        labels: label names in the order of the vectors.
        environment: library versions, device and what else the driver notes.
        max_rejected: largest share of rows that may be rejected.

    Raises:
        OutputError: if a shard is missing, is another job's, or has not the planned number of rows, or if
            more rows were rejected than may be.
    """
    footers = [_verified(layout, job, item.shard_name, item.rows.num_rows) for item in plan.items]
    manifest = Manifest(
        description=job.as_json(),
        fingerprint=job.fingerprint,
        labels=list(labels),
        environment=dict(environment),
        shards=[
            {"name": footer.name, "rows": footer.num_rows, "counts": footer.counts} for footer in footers
        ],
    )
    _check_rejected(layout, manifest.counts, max_rejected)
    write_json(layout.manifest, {**vars(manifest), "counts": manifest.counts})
    delete_directory(layout.temporary)
    return manifest


def _check_rejected(layout: OutputLayout, counts: Counts, max_rejected: float) -> None:
    rejected, rows = counts.get(REJECTED, 0), counts.get("rows", 0)
    if rejected > max_rejected * (rejected + rows):
        raise OutputError(
            f"{rejected:,} of {rejected + rows:,} rows were rejected, more than `max_rejected` "
            f"{max_rejected:g} allows; see {layout.rejected_directory!r}"
        )


def _verified(layout: OutputLayout, job: JobDescription, name: str, planned_rows: int) -> ShardFooter:
    if not FileSystems.exists(layout.shard(name)):
        raise OutputError(f"shard {name} of {layout.directory!r} was not written; run the same command again")
    footer = read_footer(layout, name)
    if footer is None:
        raise OutputError(f"shard {name} of {layout.directory!r} is damaged; run the same command again")
    if footer.fingerprint != job.fingerprint:
        raise OutputError(f"shard {name} of {layout.directory!r} is not this job's; run it with `overwrite`")
    num_rows = footer.num_rows + footer.counts[REJECTED]
    if planned_rows >= 0 and num_rows != planned_rows:
        raise OutputError(
            f"shard {name} of {layout.directory!r} accounts for {num_rows} rows of {planned_rows}; "
            "did its input change meanwhile?"
        )
    return footer


def read_manifest(layout: OutputLayout, *, command: str) -> Manifest:
    """Return the manifest of a finished job.

    Args:
        layout: its output directory.
        command: the command that must have written it.

    Raises:
        ArtifactError: if the directory is missing, unfinished, or of another command.
    """
    if not FileSystems.exists(layout.manifest):
        if FileSystems.exists(layout.job):
            raise ArtifactError(
                f"{layout.directory!r} is not finished; run its `fastbert-jobs {command}` command again"
            )
        raise ArtifactError(f"{layout.directory!r} is no output of `fastbert-jobs {command}`")
    content = read_json(layout.manifest)
    found = content["description"]["command"]
    if found != command:
        raise ArtifactError(f"{layout.directory!r} was written by `{found}`, not by `{command}`")
    content.pop("counts")
    return Manifest(**content)
