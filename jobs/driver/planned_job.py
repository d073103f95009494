"""What the plan of a job says to those who do parts of it, so that they need not look at the input again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from jobs.configs.runner import RunnerConfig
from model.errors import ArtifactError, OutputError
from model.guarantee.finite_corpus import CorpusSize
from model.messages import one_line
from pipeline.contract.job import differences
from pipeline.contract.layout import OutputLayout
from pipeline.contract.storage import exists
from pipeline.contract.typed_json import as_plain, structured
from pipeline.contract.worker_environment import check_environment, environment, library_versions
from pipeline.reading.inputs import Inputs
from pipeline.reading.stored_inputs import read_inputs, write_inputs
from pipeline.transforms.corpus_job import JobPart

# What may differ from one part to another.
_OF_A_PART = ("runner", "overwrite", "verify", "max_rejected")


class CorpusConfig(Protocol):
    """The configuration of a command that runs a corpus job."""

    @property
    def output(self) -> str:
        """The output directory."""

    @property
    def runner(self) -> RunnerConfig:
        """Where the job runs, and how much of it."""


@dataclass(frozen=True, kw_only=True)
class PlannedJob:
    """What the plan says to a command that does a part of the job.

    Attributes:
        part: its work items, and what was found out about the input.
        corpus: the size of the input, where it was counted for a promise.
    """

    part: JobPart
    corpus: CorpusSize | None


@dataclass(frozen=True, kw_only=True)
class _Notes:
    """What stands beside the files.

    Attributes:
        corpus: see `PlannedJob`.
        environment: what is to be equal on all machines.
        versions: of it, what shards tell.
    """

    corpus: CorpusSize | None
    environment: dict[str, str]
    versions: dict[str, str]


def write_plan(config: CorpusConfig, inputs: Inputs, corpus: CorpusSize | None) -> None:
    """Write the plan into the output directory, which is claimed.

    Args:
        config: what was asked for.
        inputs: the input files, as they were found.
        corpus: their size, where it was counted.

    Raises:
        OutputError: if it cannot be written.
    """
    path = OutputLayout(config.output).plan
    notes = _Notes(corpus=corpus, environment=environment(), versions=library_versions())
    try:
        write_inputs(path, inputs, {"asked": _asked(config), **as_plain(notes)})
    except OSError as error:
        raise OutputError(f"{path!r} cannot be written: {error}") from error


def open_plan(config: CorpusConfig) -> PlannedJob | None:
    """Return the plan of a job of which this command does a part; None for one that does all of it.

    Raises:
        OutputError: if there is no plan, or it is another command's.
        ArtifactError: if it is damaged.
        EnvironmentMismatchError: if the libraries here are of other versions.
    """
    items = config.runner.part
    if items is None:
        return None
    path = OutputLayout(config.output).plan
    if not exists(path):
        raise OutputError(f"{config.output!r} has no plan; run the same command with `plan_only` first")
    try:
        inputs, plain = read_inputs(path)
        asked = plain.pop("asked")
        notes = structured(plain, _Notes)
    # Arrow's errors are ValueErrors too.
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path!r} is damaged: {one_line(error)}; run the same command with `plan_only` again"
        ) from error
    _check_asked(config, asked)
    check_environment(notes.environment)
    return PlannedJob(part=JobPart(inputs=inputs, items=items, versions=notes.versions), corpus=notes.corpus)


def _check_asked(config: CorpusConfig, planned: Mapping[str, object]) -> None:
    if (asked := _asked(config)) != planned:
        raise OutputError(
            f"{config.output!r} was planned by a command that differs in {differences(asked, planned)}; "
            "give the same options"
        )


def _asked(config: Any) -> dict[str, object]:
    """Return the options of a command that change what it does, as they come back from disk."""
    names = [each.name for each in fields(config) if each.name not in _OF_A_PART]
    plain = as_plain(config)
    as_read: dict[str, object] = json.loads(json.dumps({name: plain[name] for name in names}))
    return as_read
