"""Exit statistics from finished score shards, streaming: what left where, how sure, and what it saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model.cost.flops import FlopsModel
from model.exits.policy import ExitPolicy
from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import Manifest
from pipeline.contract.shards import read_shard, with_metadata

EXIT_STATS_FILE = "exit_stats.parquet"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Uncertainty lies in [0, 1]: bins this fine give quantiles to 1e-4 in constant memory.
_BINS = 10_000

# Label ids are places in the manifest's label names; rows without one have this.
NO_LABEL = -1
LabelIds = npt.NDArray[np.int64]
TrueLabels = Callable[[pa.RecordBatch], LabelIds]


@dataclass
class LayerStats:
    """What left after one layer.

    Attributes:
        predictions: (num_labels,) rows by predicted label.
        uncertainty_sum: over the rows.
        uncertainty_bins: (10000,) rows by uncertainty.
        flops: of the rows, up to this layer.
        labelled: rows whose true label is known.
        correct: those of them that were predicted right.
        shadowed: rows of the shadow sample.
        agreeing: those of them with the full-depth answer.
    """

    predictions: npt.NDArray[np.int64]
    uncertainty_sum: float = 0.0
    uncertainty_bins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64))
    flops: int = 0
    labelled: int = 0
    correct: int = 0
    shadowed: int = 0
    agreeing: int = 0

    @property
    def rows(self) -> int:
        """Rows that left here."""
        return int(self.predictions.sum())

    def quantile(self, share: float) -> float:
        """Return the uncertainty that `share` of the rows do not exceed, to 1e-4."""
        ends = np.cumsum(self.uncertainty_bins)
        return float(np.searchsorted(ends, share * ends[-1], side="left") + 0.5) / _BINS


@dataclass(frozen=True, kw_only=True)
class ExitStats:
    """Exit statistics of one job.

    Attributes:
        labels: label names.
        layers: what left after each layer, from the first.
        mean_exit_layer: over all rows.
        paper_speed_up: full depth over FastBERT in the paper's FLOPs (128 tokens, linear layers only).
        saved_compute_speed_up: the same with real lengths, attention products and the branches as run;
            each row counts, equal texts too, and the shadow sample only up to where it left.
    """

    labels: tuple[str, ...]
    layers: list[LayerStats]
    mean_exit_layer: float
    paper_speed_up: float
    saved_compute_speed_up: float

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(layer.rows for layer in self.layers)

    def share(self, correct: str, known: str) -> float | None:
        """Return a share over all layers, such as ("correct", "labelled"); None where nothing is known."""
        total = sum(getattr(layer, known) for layer in self.layers)
        return sum(getattr(layer, correct) for layer in self.layers) / total if total else None

    def as_table(self) -> pa.Table:
        """Return one row a layer; what holds for all of them is in the schema metadata."""
        stats, rows = self.layers, max(self.rows, 1)
        flops = max(sum(layer.flops for layer in stats), 1)
        columns: dict[str, pa.Array] = {
            schema.EXIT_LAYER: pa.array(range(1, len(stats) + 1), pa.int16()),
            "rows": pa.array([layer.rows for layer in stats], pa.int64()),
            "share": pa.array([layer.rows / rows for layer in stats], pa.float64()),
            "flops_share": pa.array([layer.flops / flops for layer in stats], pa.float64()),
            "uncertainty_mean": pa.array([_ratio(s.uncertainty_sum, s.rows) for s in stats], pa.float64()),
            **{
                f"uncertainty_p{share * 100:02.0f}": pa.array(
                    [layer.quantile(share) if layer.rows else None for layer in stats], pa.float64()
                )
                for share in QUANTILES
            },
            "predictions": pa.array(
                [list(zip(self.labels, layer.predictions.tolist(), strict=True)) for layer in stats],
                pa.map_(pa.string(), pa.int64()),
            ),
            "labelled_rows": pa.array([layer.labelled for layer in stats], pa.int64()),
            "accuracy": pa.array([_ratio(s.correct, s.labelled) for s in stats], pa.float64()),
            "shadow_rows": pa.array([layer.shadowed for layer in stats], pa.int64()),
            "agreement": pa.array([_ratio(s.agreeing, s.shadowed) for s in stats], pa.float64()),
        }
        table = pa.table(columns)
        overall = {
            "rows": self.rows,
            "mean_exit_layer": self.mean_exit_layer,
            "paper_flops_speed_up": self.paper_speed_up,
            "saved_compute_speed_up": self.saved_compute_speed_up,
            "accuracy": self.share("correct", "labelled"),
            "agreement_on_shadow_sample": self.share("agreeing", "shadowed"),
        }
        return table.cast(with_metadata(table.schema, {"overall": json.dumps(overall)}))


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None


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
        bins = np.minimum((uncertainty * _BINS).astype(np.int64), _BINS - 1)
        for layer in np.unique(exits).tolist():
            here, stats = exits == layer, self._layers[layer - 1]
            stats.predictions += np.bincount(predicted[here], minlength=len(self._labels))
            stats.uncertainty_sum += float(uncertainty[here].sum())
            stats.uncertainty_bins += np.bincount(bins[here], minlength=_BINS)
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
            paper_speed_up=self._flops.paper_speed_up(mean, classifiers) if mean else 1.0,
            saved_compute_speed_up=self._full_depth_flops / flops if flops else 1.0,
        )


def label_ids(names: pa.Array, labels: Sequence[str]) -> LabelIds:
    """Return each name's place among `labels`, NO_LABEL for null and unknown names."""
    found = pc.index_in(names, value_set=pa.array(labels, pa.string()), skip_nulls=True)
    ids: LabelIds = found.fill_null(NO_LABEL).to_numpy().astype(np.int64)
    return ids


def collect(layout: OutputLayout, manifest: Manifest, true_labels: TrueLabels | None = None) -> ExitStats:
    """Stream a finished score job's shards.

    Args:
        layout: its output directory.
        manifest: its manifest.
        true_labels: gives the true label id of each row of a batch, where labels are known.
    """
    thresholds = tuple(manifest.description["thresholds"])
    builder = ExitStatsBuilder(
        tuple(manifest.labels),
        FlopsModel.from_json(manifest.environment["flops"]),
        ExitPolicy(thresholds=thresholds, name=manifest.description["policy"]),
    )
    columns = [
        schema.SOURCE,
        schema.ROW,
        *([schema.ID] if manifest.description["columns"]["id"] is not None else []),
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
