"""What a job is: all that changes its results, and nothing else.

Not the runner, not the number of workers, not where the output lies.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from model.answers.rule import AnswerRule
from model.answers.scaling import Scaling
from model.answers.task import Task
from model.guarantee.unit import Unit
from model.version import NUMERICS_VERSION
from pipeline.contract.columns import Columns
from pipeline.contract.schema import SCHEMA_VERSION
from pipeline.contract.typed_json import as_plain

LABEL_TEACHER = "label-teacher"
SCORE = "score"


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What changes the results of any job.

    Attributes:
        model_hash: of the checkpoint.
        device: "cpu" or "cuda".
        precision: number format.
        backend: whose operators run.
        max_length: tokens that a text is cut to.
        columns: which columns of the input are read.
        rows_per_shard: most rows of a shard.
    """

    command: ClassVar[str]

    model_hash: str
    device: str
    precision: str
    backend: str
    max_length: int
    columns: Columns
    rows_per_shard: int


@dataclass(frozen=True, kw_only=True)
class LabelSettings(JobSettings):
    """What changes the results of `label-teacher`.

    Attributes:
        calibration_fraction: share of the units, drawn by hash, that training never sees.
        unit: what these are, and a promise is of.
        task: what the logits mean.
        teacher_texts: digest of the texts that the teacher was fine-tuned on, as far as they are known.
    """

    command: ClassVar[str] = LABEL_TEACHER

    calibration_fraction: float
    unit: Unit
    task: Task
    teacher_texts: str


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(JobSettings):
    """What changes the results of `score`.

    Attributes:
        policy: what was asked for.
        answer: which answers are the same.
        thresholds: (num_layers - 1,) from the first layer on.
        scalings: (num_layers - 1,) of the confidence, for the uncertainty.
        lexical_threshold: of the lexical branch; 0 where it is not run.
        lexical_scaling: likewise.
        length_exponent: of the tokens by which the uncertainty is divided before thresholds are held against.
        shadow_fraction: share of the shadow units, drawn by hash, that is answered at full depth too.
        shadow_unit: what these are.
        sample_fraction: share of the units that rows are told of, those of the shadow sample among them.
    """

    command: ClassVar[str] = SCORE

    policy: str
    answer: AnswerRule
    thresholds: tuple[float, ...]
    scalings: tuple[Scaling, ...]
    lexical_threshold: float
    lexical_scaling: Scaling
    length_exponent: float
    shadow_fraction: float
    shadow_unit: Unit
    sample_fraction: float


@dataclass(frozen=True, kw_only=True)
class InputEntry:
    """What tells an input file apart.

    Attributes:
        path: as Beam's FileSystems spell it.
        format: one of `input_files.FORMATS`.
        size: in bytes.
        checksum: hex SHA-256 of a local file; of others what their store tells of the content.
    """

    path: str
    format: str
    size: int
    checksum: str


@dataclass(frozen=True, kw_only=True)
class JobDescription:
    """All that changes a job's results.

    Attributes:
        settings: of its command.
        inputs: the input files.
    """

    settings: JobSettings
    inputs: tuple[InputEntry, ...]

    def as_json(self) -> dict[str, object]:
        """Return the description as it is written to disk, where a later run compares it with its own."""
        content = {
            "command": self.settings.command,
            "schema_version": SCHEMA_VERSION,
            "numerics_version": NUMERICS_VERSION,
            **as_plain(self.settings),
            "inputs": [as_plain(entry) for entry in self.inputs],
        }
        # As it comes back from disk: tuples are lists there.
        as_read: dict[str, object] = json.loads(json.dumps(content))
        return as_read

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the description, 64 hexadecimal digits; computed once, for every shard is held to it."""
        canonical = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def differences(requested: Mapping[str, object], stored: Mapping[str, object]) -> str:
    """Say in one line what two job descriptions differ in.

    >>> differences({"speed": 0.5, "inputs": [1]}, {"speed": 0.1, "inputs": [2]})
    'speed (0.1 there, 0.5 asked for), inputs'
    """
    named = []
    for key in [*requested, *(key for key in stored if key not in requested)]:
        there, here = stored.get(key), requested.get(key)
        if there != here:
            short = all(len(str(value)) <= 40 for value in (there, here)) and key != "inputs"
            named.append(f"{key} ({there} there, {here} asked for)" if short else key)
    return ", ".join(named)
