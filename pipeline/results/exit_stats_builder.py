"""Exit statistics added up from finished score shards, streaming."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model.cost.flops import FlopsModel
from model.exits.policy import ExitPolicy
from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest
from pipeline.contract.shards import read_shard
from pipeline.results.exit_stats import NUM_BINS, ExitStats, LayerStats

# Label ids are places in the manifest's label names; rows without one have this.
NO_LABEL = -1
LabelIds = npt.NDArray[np.int64]
TrueLabels = Callable[[pa.RecordBatch], LabelIds]


class ExitStatsBuilder:
    """Adds up exit statistics batch by batch."""

    def __init__(self, labels: tuple[str, ...], flops: FlopsModel, policy: ExitPolicy) -> None:
        """Start with no rows.

        Args:
            labels: label names in the order of the vectors.
            flops: of the model that scored.
            policy: which branches it ran.
        """
        self._labels, self._flops, self._policy = labels, flops, policy
        self._layers = [
            LayerStats(predictions=np.zeros(len(labels), dtype=np.int64)) for _ in range(flops.num_layers)
        ]
        self._full_depth_flops = 0

    def add(self, batch: pa.RecordBatch, true_labels: LabelIds | None = None) -> None:
        """Add rows of a score shard.

        Args:
            batch: rows with the columns that `collect` reads.
            true_labels: (rows,) label ids, NO_LABEL where unknown; None where none is known.
        """
        exits = batch[schema.EXIT_LAYER].to_numpy()
        tokens = batch[schema.NUM_TOKENS].to_numpy().astype(np.int64)
        uncertainty = batch[schema.UNCERTAINTY].to_numpy().astype(np.float64)
        predicted = label_ids(batch[schema.PREDICTION], self._labels)
        teacher = label_ids(batch[schema.TEACHER_PREDICTION], self._labels)
        truth = np.full(len(batch), NO_LABEL) if true_labels is None else true_labels
        flops = self._flops.with_exits(tokens, exits, self._policy)
        self._full_depth_flops += int(self._flops.full_depth(tokens).sum())
        bins = np.minimum((uncertainty * NUM_BINS).astype(np.int64), NUM_BINS - 1)
        for layer in np.unique(exits).tolist():
            here, stats = exits == layer, self._layers[layer - 1]
            stats.predictions += np.bincount(predicted[here], minlength=len(self._labels))
            stats.uncertainty_sum += float(uncertainty[here].sum())
            stats.uncertainty_bins += np.bincount(bins[here], minlength=NUM_BINS)
            stats.flops += int(flops[here].sum())
            stats.labelled += int((truth[here] != NO_LABEL).sum())
            stats.correct += int((truth[here] == predicted[here]).sum())
            stats.shadowed += int((teacher[here] != NO_LABEL).sum())
            stats.agreeing += int((teacher[here] == predicted[here]).sum())

    def build(self) -> ExitStats:
        """Return the statistics of all rows added."""
        rows = np.array([layer.rows for layer in self._layers])
        layers = np.arange(1, len(rows) + 1)
        mean = float((layers * rows).sum() / rows.sum()) if rows.sum() else 0.0
        # Layers whose branch is not run, as at speed 0, cost no classifier; the last has the teacher's.
        was_run = np.array([*(threshold > 0 for threshold in self._policy.thresholds), True])
        classifiers = float((np.cumsum(was_run) * rows).sum() / max(rows.sum(), 1))
        flops = sum(layer.flops for layer in self._layers)
        return ExitStats(
            labels=self._labels,
            layers=self._layers,
            mean_exit_layer=mean,
            paper_saved_compute=self._flops.paper_saved_compute(mean, classifiers) if mean else 1.0,
            saved_compute=self._full_depth_flops / flops if flops else 1.0,
        )


def label_ids(names: pa.Array, labels: Sequence[str]) -> LabelIds:
    """Return each name's place among `labels`, NO_LABEL for null and unknown names."""
    found = pc.index_in(names, value_set=pa.array(labels, pa.string()), skip_nulls=True)
    ids: LabelIds = found.fill_null(NO_LABEL).to_numpy().astype(np.int64)
    return ids


def collect(
    layout: OutputLayout, manifest: ScoreManifest, true_labels: TrueLabels | None = None
) -> ExitStats:
    """Stream a finished score job's shards.

    Args:
        layout: its output directory.
        manifest: its manifest.
        true_labels: gives the true label id of each row of a batch, where labels are known.
    """
    settings = manifest.settings
    builder = ExitStatsBuilder(
        manifest.labels,
        manifest.flops,
        ExitPolicy(thresholds=settings.thresholds, name=settings.policy),
    )
    columns = [
        schema.SOURCE,
        schema.ROW,
        *([schema.ID] if settings.columns.id is not None else []),
        schema.PREDICTION,
        schema.EXIT_LAYER,
        schema.UNCERTAINTY,
        schema.NUM_TOKENS,
        schema.TEACHER_PREDICTION,
    ]
    for name in manifest.shard_names:
        for batch in read_shard(layout, name, columns=columns):
            builder.add(batch, None if true_labels is None else true_labels(batch))
    return builder.build()
