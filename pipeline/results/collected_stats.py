"""Exit statistics of a finished score job: its shards read once, one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from model.errors import ArtifactError
from model.exits.policy import ExitPolicy
from model.guarantee.unit import Unit
from pipeline.contract import schema
from pipeline.contract.answer_fields import answer_names
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest, ShardEntry
from pipeline.contract.shards import read_footer, read_shard
from pipeline.results.example_finder import ExampleFinder, RowPlace
from pipeline.results.exit_stats import ExitStats
from pipeline.results.exit_stats_builder import ExitStatsBuilder
from pipeline.results.read_answers import LabelIds

TrueLabels = Callable[[pa.RecordBatch], LabelIds]


@dataclass(frozen=True, kw_only=True)
class CollectedStats:
    """What reading all shards gave.

    Attributes:
        stats: of all rows.
        examples: places of rows worth looking at.
    """

    stats: ExitStats
    examples: ExampleFinder


def collect(
    layout: OutputLayout, manifest: ScoreManifest, true_labels: TrueLabels | None = None
) -> CollectedStats:
    """Stream a finished score job's shards.

    Args:
        layout: its output directory.
        manifest: its manifest.
        true_labels: gives the true label id of each row of a batch, where labels are known.

    Raises:
        ArtifactError: if a shard is missing, damaged, or another job's.
    """
    settings = manifest.settings
    builder = ExitStatsBuilder(
        settings.answer,
        manifest.labels,
        manifest.flops,
        ExitPolicy(
            thresholds=settings.thresholds,
            lexical_threshold=settings.lexical_threshold,
            name=settings.policy,
        ),
        one_of_each=settings.shadow_unit is Unit.GROUPS,
    )
    columns = [
        schema.SOURCE,
        schema.ROW,
        *([schema.ID] if settings.columns.id is not None else []),
        *(prefix + name for prefix in ("", schema.TEACHER) for name in answer_names(settings.answer)),
        schema.EXIT_LAYER,
        schema.UNCERTAINTY,
        schema.FIRST_UNCERTAINTY,
        schema.NUM_TOKENS,
        schema.NUM_UNKNOWN_TOKENS,
        schema.UNIT_HASH,
    ]
    for number, shard in enumerate(manifest.shards):
        _check_is_of_job(layout, shard)
        first = 0
        for batch in read_shard(layout, shard.name, columns=columns):
            truth = None if true_labels is None else true_labels(batch)
            builder.add(batch, truth, place=RowPlace(number, first))
            first += len(batch)
    return CollectedStats(stats=builder.build(), examples=builder.examples)


def _check_is_of_job(layout: OutputLayout, shard: ShardEntry) -> None:
    """Refuse a readable shard that another job wrote; what cannot be read is told when it is read."""
    footer = read_footer(layout, shard.name)
    if footer is not None and footer.checksum != shard.checksum:
        raise ArtifactError(
            f"{layout.shard(shard.name)!r} is not the shard that the manifest lists, but another job's: "
            "remove it, and run `fastbert-jobs score` again"
        )
