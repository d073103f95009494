"""Rows of the shadow sample to look at: those that left wrongly, the surest first, and the most unsure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from model.messages import shortened
from pipeline.contract import schema
from pipeline.contract.answer_fields import answer_names
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest
from pipeline.contract.shards import read_shard
from pipeline.results.example_finder import ExampleFinder, RowPlace

_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class ExampleRow:
    """A row, as a job has it.

    Attributes:
        source: its file.
        row: its row there.
        answer: of the job.
        full_depth: the full model's; empty of a row outside the shadow sample.
        exit_layer: where it left.
        uncertainty: there.
        kept: columns that the job kept, and its id, by name; long texts cut.
    """

    source: str
    row: int
    answer: str
    full_depth: str
    exit_layer: int
    uncertainty: float
    kept: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Rows to look at.

    Attributes:
        wrong: rows that were answered otherwise than full depth does, the surest first.
        unsure: the most unsure.
    """

    wrong: tuple[ExampleRow, ...]
    unsure: tuple[ExampleRow, ...]


def read_examples(layout: OutputLayout, manifest: ScoreManifest, finder: ExampleFinder) -> Examples:
    """Read the rows that were found, and only the shards that hold them.

    Raises:
        ArtifactError: if a shard is damaged.
    """
    read = read_rows(layout, manifest, [place for _, place in (*finder.wrong, *finder.unsure)])
    return Examples(
        wrong=tuple(read[place] for _, place in finder.wrong),
        unsure=tuple(read[place] for _, place in finder.unsure),
    )


def read_rows(
    layout: OutputLayout, manifest: ScoreManifest, places: Sequence[RowPlace]
) -> dict[RowPlace, ExampleRow]:
    """Read rows of any shards.

    Args:
        layout: of the job.
        manifest: of the job.
        places: where they stand.

    Raises:
        ArtifactError: if a shard is damaged.
    """
    wanted: defaultdict[int, set[int]] = defaultdict(set)
    for place in places:
        wanted[place.shard].add(place.row)
    answer = answer_names(manifest.settings.answer)
    columns = [
        schema.SOURCE,
        schema.ROW,
        *([schema.ID] if manifest.settings.columns.id is not None else []),
        *(prefix + name for prefix in ("", schema.TEACHER) for name in answer),
        schema.EXIT_LAYER,
        schema.UNCERTAINTY,
        *manifest.settings.columns.keep,
    ]
    read = {}
    for shard, rows in wanted.items():
        first = 0
        for batch in read_shard(layout, manifest.shard_names[shard], columns=columns):
            for row in (row for row in rows if first <= row < first + len(batch)):
                read[RowPlace(shard, row)] = _example(batch.slice(row - first, 1), manifest)
            first += len(batch)
    return read


def _example(row: pa.RecordBatch, manifest: ScoreManifest) -> ExampleRow:
    values = row.to_pylist()[0]
    kept = manifest.settings.columns.keep
    if manifest.settings.columns.id is not None:
        kept = (*kept, schema.ID)
    return ExampleRow(
        source=values[schema.SOURCE],
        row=values[schema.ROW],
        answer=_answer(values, manifest, prefix=""),
        full_depth=_answer(values, manifest, prefix=schema.TEACHER),
        exit_layer=values[schema.EXIT_LAYER],
        uncertainty=values[schema.UNCERTAINTY],
        kept={name: shortened(str(values[name]), _LONGEST) for name in kept},
    )


def _answer(values: dict[str, object], manifest: ScoreManifest, *, prefix: str) -> str:
    """Return an answer in a word or some."""
    if all(values[prefix + name] is None for name in answer_names(manifest.settings.answer)):
        return ""
    told = []
    for name in answer_names(manifest.settings.answer):
        value = values[prefix + name]
        if isinstance(value, float):
            told.append(f"{value:.3g}")
        elif isinstance(value, list):
            told.append(", ".join(map(str, value)) or "none")
        else:
            told.append(str(value))
    return "; ".join(told)
