"""The manifest: that an output directory is finished, and what is in it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from model.cost.flops import FlopsModel
from model.errors import ArtifactError
from pipeline.contract.certificate import Certificate
from pipeline.contract.job import (
    LABEL_TEACHER,
    SCORE,
    InputEntry,
    LabelSettings,
    ScoreSettings,
)
from pipeline.contract.layout import OutputLayout
from pipeline.contract.shards import Counts
from pipeline.contract.storage import exists, read_json
from pipeline.contract.typed_json import as_typed, read_plain

ROWS = "rows"
REJECTED = "rejected"
# Of the rejected rows, those to which the model's answer is no number; and texts that were run.
NOT_FINITE = "not_finite"
DISTINCT_TEXTS = "distinct_texts"


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One shard of a finished job.

    Attributes:
        name: its file name.
        rows: rows in it.
        counts: rows rejected, exits per layer and the like.
        checksum: SHA-256 of its footer, which holds those of all before it and of the rejected rows.
    """

    name: str
    rows: int
    counts: Counts
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What every finished job says of itself.

    Attributes:
        command: which command made it.
        fingerprint: of the job.
        numerics_version: of what computed it.
        labels: label names in the order of the vectors.
        inputs: the input files.
        versions: of the libraries.
        shards: in order.
        counts: the sum of all shards' counts, and their rows.
    """

    COMMAND: ClassVar[str]

    command: str
    fingerprint: str
    numerics_version: int
    labels: tuple[str, ...]
    inputs: tuple[InputEntry, ...]
    versions: dict[str, str]
    shards: tuple[ShardEntry, ...]
    counts: Counts

    @property
    def shard_names(self) -> list[str]:
        """The shards' file names, in order."""
        return [shard.name for shard in self.shards]


@dataclass(frozen=True, kw_only=True)
class LabelManifest(Manifest):
    """A finished `label-teacher`.

    Attributes:
        settings: what changed its results.
        teacher: what the user calls the teacher.
    """

    COMMAND: ClassVar[str] = LABEL_TEACHER

    settings: LabelSettings
    teacher: str


@dataclass(frozen=True, kw_only=True)
class ScoreManifest(Manifest):
    """A finished `score`.

    Attributes:
        settings: what changed its results.
        model: what the user calls the model.
        flops: what its parts cost.
        certificate: of a calibrated policy; None for any other.
    """

    COMMAND: ClassVar[str] = SCORE

    settings: ScoreSettings
    model: str
    flops: FlopsModel
    certificate: Certificate | None


AnyManifest = TypeVar("AnyManifest", bound=Manifest)


def sum_counts(shards: Iterable[ShardEntry]) -> Counts:
    """Return the sum of all shards' counts, and their rows."""
    total: Counter[str] = Counter({ROWS: 0})
    for shard in shards:
        total.update(shard.counts)
        total[ROWS] += shard.rows
    return dict(total)


def read_manifest(layout: OutputLayout, kind: type[AnyManifest]) -> AnyManifest:
    """Return the manifest of a finished job.

    Args:
        layout: its output directory.
        kind: of the command that must have written it.

    Raises:
        ArtifactError: if the directory is missing, unfinished, of another command or another version.
    """
    if not exists(layout.manifest):
        if exists(layout.job):
            raise ArtifactError(
                f"{layout.directory!r} is not finished; run its `fastbert-jobs {kind.COMMAND}` command again"
            )
        raise ArtifactError(f"{layout.directory!r} is no output of `fastbert-jobs {kind.COMMAND}`")
    cure = f"make it again with `fastbert-jobs {kind.COMMAND}`"
    # Read once: that of a million shards is over half a gigabyte.
    plain = read_plain(layout.manifest, cure=cure)
    command = plain.get("command", kind.COMMAND)
    if command != kind.COMMAND:
        raise ArtifactError(f"{layout.directory!r} was written by `{command}`, not by `{kind.COMMAND}`")
    return as_typed(layout.manifest, plain, kind, cure=cure)


def listed_shards(layout: OutputLayout) -> dict[str, str] | None:
    """Return the checksums of the shards that a manifest of whatever kind lists, by name.

    None where it cannot be read.
    """
    try:
        content: Any = read_json(layout.manifest)
        return {str(shard["name"]): str(shard["checksum"]) for shard in content["shards"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
