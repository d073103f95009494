"""Exit statistics added up from finished score shards, streaming."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.answers.answer import answer_of
from model.answers.rule import AnswerRule
from model.cost.flops import FlopsModel
from model.exits.policy import ExitPolicy
from model.guarantee.unit import Unit
from model.training.soft_labelled_texts import NO_LABEL
from pipeline.contract import schema
from pipeline.contract.answer_columns import answer_names
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest
from pipeline.contract.shards import read_shard
from pipeline.results.exit_stats import NUM_BINS, ExitLayerStats, ExitStats
from pipeline.results.read_answers import LabelIds, label_ids, read_calls, read_disagrees
from pipeline.results.shadow_texts import ShadowTextsBuilder
from pipeline.sampling.unit_hashes import place_hashes

TrueLabels = Callable[[pa.RecordBatch], LabelIds]


class ExitStatsBuilder:
    """Adds up exit statistics batch by batch."""

    def __init__(
        self,
        rule: AnswerRule,
        labels: tuple[str, ...],
        flops: FlopsModel,
        policy: ExitPolicy,
        *,
        one_of_each: bool = False,
    ) -> None:
        """Start with no rows.

        Args:
            rule: which answers are the same.
            labels: label names in the order of the vectors.
            flops: of the model that scored.
            policy: which branches it ran.
            one_of_each: see `ShadowTextsBuilder`.
        """
        self._rule, self._labels, self._flops, self._policy = rule, labels, flops, policy
        self._names = answer_of(rule, labels).names
        self._exits = {
            exit_layer: ExitLayerStats(called=np.zeros(len(self._names), dtype=np.int64))
            for exit_layer in flops.exits
        }
        self._full_depth_flops = 0
        self._shadow_texts = ShadowTextsBuilder(len(self._names), one_of_each=one_of_each)

    def add(self, batch: pa.RecordBatch, true_labels: LabelIds | None = None) -> None:
        """Add rows of a score shard.

        Args:
            batch: rows with the columns that `collect` reads.
            true_labels: (rows,) label ids, NO_LABEL where unknown; None where none is known, as of a model
                that does not answer with one label.
        """
        exits = batch[schema.EXIT_LAYER].to_numpy()
        tokens = batch[schema.NUM_TOKENS].to_numpy().astype(np.int64)
        uncertainty = batch[schema.UNCERTAINTY].to_numpy().astype(np.float64)
        called = read_calls(batch, self._rule, self._labels)
        is_shadow = batch[schema.TEACHER_UNIT_HASH].is_valid().to_numpy(zero_copy_only=False)
        agrees = np.zeros(len(batch), dtype=np.bool_)
        agrees[is_shadow] = ~self._add_shadow(batch.filter(pa.array(is_shadow)), called[is_shadow])
        truth = np.full(len(batch), NO_LABEL) if true_labels is None else true_labels
        is_right = np.zeros(len(batch), dtype=np.bool_)
        if true_labels is not None:
            is_right = (truth != NO_LABEL) & (truth == label_ids(batch[schema.PREDICTION], self._labels))
        flops = self._flops.with_exits(tokens, exits, self._policy)
        self._full_depth_flops += int(self._flops.full_depth(tokens).sum())
        bins = np.minimum((uncertainty * NUM_BINS).astype(np.int64), NUM_BINS - 1)
        for exit_layer in np.unique(exits).tolist():
            here, stats = exits == exit_layer, self._exits[exit_layer]
            stats.rows += int(here.sum())
            stats.called += called[here].sum(axis=0)
            stats.uncertainty_sum += float(uncertainty[here].sum())
            stats.uncertainty_bins += np.bincount(bins[here], minlength=NUM_BINS)
            stats.flops += int(flops[here].sum())
            stats.labelled += int((truth[here] != NO_LABEL).sum())
            stats.correct += int(is_right[here].sum())
            stats.shadowed += int(is_shadow[here].sum())
            stats.agreeing += int(agrees[here].sum())

    def _add_shadow(self, shadow: pa.RecordBatch, called: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Add rows of the shadow sample, and return which of them were answered otherwise, (rows,)."""
        by_teacher = read_calls(shadow, self._rule, self._labels, prefix=schema.TEACHER)
        disagrees = read_disagrees(shadow, self._rule, called, by_teacher)
        self._shadow_texts.add(
            shadow[schema.TEACHER_UNIT_HASH].to_pylist(),
            place_hashes(shadow[schema.SOURCE].to_pylist(), shadow[schema.ROW].to_pylist()),
            by_teacher=by_teacher,
            called=called,
            disagrees=disagrees,
        )
        return disagrees

    def build(self) -> ExitStats:
        """Return the statistics of all rows added."""
        layers, rows = np.array([(layer, stats.rows) for layer, stats in self._exits.items()]).T
        num_rows = max(int(rows.sum()), 1)
        mean = float((layers * rows).sum() / num_rows)
        # Layers whose branch is not run, as at speed 0, cost no classifier; the last has the teacher's.
        runs_lexical, *runs_branch = self._policy.runs_branch
        num_classifiers = np.cumsum([0, *runs_branch, True])[layers]
        flops = sum(stats.flops for stats in self._exits.values())
        paper = partial(self._flops.paper_saved_compute, mean, runs_lexical=runs_lexical)
        return ExitStats(
            names=self._names,
            exits=self._exits,
            mean_exit_layer=mean,
            paper_saved_compute=paper(float((num_classifiers * rows).sum() / num_rows)) if flops else 1.0,
            saved_compute=self._full_depth_flops / flops if flops else 1.0,
            shadow_texts=self._shadow_texts.build(),
        )


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
        schema.NUM_TOKENS,
        schema.TEACHER_UNIT_HASH,
    ]
    for name in manifest.shard_names:
        for batch in read_shard(layout, name, columns=columns):
            builder.add(batch, None if true_labels is None else true_labels(batch))
    return builder.build()
