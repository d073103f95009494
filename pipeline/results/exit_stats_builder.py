"""Exit statistics added up from finished score shards, streaming."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.answers.rule import AnswerRule
from model.cost.flops import FlopsModel
from model.exits.policy import ExitPolicy
from model.guarantee.policy_reference import AnsweredTexts
from model.training.labelled_texts import NO_LABEL
from pipeline.contract import schema
from pipeline.contract.answer_fields import answer_names
from pipeline.results.example_finder import ExampleFinder, RowPlace
from pipeline.results.exit_stats import NUM_BINS, Counts, ExitLayerStats, ExitStats
from pipeline.results.read_answers import LabelIds, label_ids, read_calls, read_disagrees
from pipeline.results.shadow_texts import ShadowRows, ShadowTextsBuilder
from pipeline.sampling.unit_hashes import place_hashes


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
        self._names = rule.names(labels)
        num_exits = flops.exits.stop
        self._called = np.zeros((num_exits, len(self._names)), dtype=np.int64)
        self._tokens = np.zeros((num_exits, 1), dtype=np.int64)
        self._uncertainty_sum = np.zeros(num_exits)
        self._uncertainty_bins = np.zeros((num_exits, NUM_BINS), dtype=np.int64)
        # By exit, true label and predicted one, as far as they occur: of a thousand labels hardly any do.
        self._confusion: Counter[int] = Counter()
        self._shadowed = np.zeros((num_exits, 2), dtype=np.int64)
        self._shadow_flops = 0
        self._shadow_texts = ShadowTextsBuilder(len(self._names), one_of_each=one_of_each)
        self._sampled_texts = ShadowTextsBuilder(len(self._names), one_of_each=one_of_each)
        self._is_labelled = False
        self.examples = ExampleFinder()

    def add(
        self,
        batch: pa.RecordBatch,
        true_labels: LabelIds | None = None,
        *,
        place: RowPlace = RowPlace(0, 0),  # noqa: B008 - frozen
    ) -> None:
        """Add rows of a score shard.

        Args:
            batch: rows with the columns that `collect` reads.
            true_labels: (rows,) label ids, NO_LABEL where unknown; None where none is known, as of a model
                that does not answer with one label.
            place: where the first of the rows stands.
        """
        exits = batch[schema.EXIT_LAYER].to_numpy().astype(np.int64)
        uncertainty = batch[schema.UNCERTAINTY].to_numpy().astype(np.float64)
        self._add_tokens(exits, batch[schema.NUM_TOKENS].to_numpy())
        bins = np.minimum((uncertainty * NUM_BINS).astype(np.int64), NUM_BINS - 1)
        self._uncertainty_bins += _counted(self._uncertainty_bins.shape, exits, bins)
        self._uncertainty_sum += np.bincount(exits, uncertainty, minlength=len(self._uncertainty_sum))
        if self._rule.calls_one_label:
            predicted = label_ids(batch[schema.PREDICTION], self._labels)
            self._called += _counted(self._called.shape, exits, predicted)
            if true_labels is not None:
                self._add_labelled(exits, true_labels, predicted)
        else:
            called = read_calls(batch, self._rule, self._labels)
            for exit_layer in np.unique(exits).tolist():
                self._called[exit_layer] += called[exits == exit_layer].sum(axis=0)
        is_sampled = batch[schema.UNIT_HASH].is_valid()
        if is_sampled.true_count:
            offsets = np.flatnonzero(is_sampled.to_numpy(zero_copy_only=False))
            self._add_sampled(batch.filter(is_sampled), place.shard, place.row + offsets)

    def _add_tokens(self, exits: Counts, tokens: npt.NDArray[np.int32]) -> None:
        width = self._tokens.shape[1]
        if len(tokens) and (longest := int(tokens.max())) >= width:
            self._tokens = np.pad(self._tokens, ((0, 0), (0, longest + 1 - width)))
        self._tokens += _counted(self._tokens.shape, exits, tokens)

    def _add_labelled(self, exits: Counts, truth: LabelIds, predicted: LabelIds) -> None:
        self._is_labelled = True
        known = truth != NO_LABEL
        places = (exits[known], truth[known], predicted[known])
        cells, rows = np.unique(np.ravel_multi_index(places, self._confusion_shape), return_counts=True)
        self._confusion.update(dict(zip(cells.tolist(), rows.tolist(), strict=True)))

    @property
    def _confusion_shape(self) -> tuple[int, int, int]:
        return len(self._called), len(self._labels), len(self._labels)

    def _add_sampled(self, sampled: pa.RecordBatch, shard: int, places: Counts) -> None:
        """Add rows of the audit's sample, which stand at `places` of a shard, the shadow's among them."""
        hashes = place_hashes(sampled[schema.SOURCE].to_pylist(), sampled[schema.ROW].to_pylist())
        units = sampled[schema.UNIT_HASH].to_pylist()
        all_rows = shadow_rows(sampled, self._rule, self._labels)
        self._sampled_texts.add(units, hashes, all_rows)
        is_shadow = sampled[schema.TEACHER + answer_names(self._rule)[0]].is_valid()
        shadow = np.flatnonzero(is_shadow.to_numpy(zero_copy_only=False))
        rows = all_rows.take(shadow)
        self.examples.add(shard, places[shadow], rows)
        np.add.at(self._shadowed, (rows.exit_layer, rows.disagrees.astype(np.int64)), 1)
        self._shadow_flops += self._flops_beyond(rows.exit_layer, rows.num_tokens)
        self._shadow_texts.add([units[place] for place in shadow], [hashes[place] for place in shadow], rows)

    def build(self) -> ExitStats:
        """Return the statistics of all rows added."""
        lengths = np.arange(self._tokens.shape[1], dtype=np.int64)
        flops = {
            exit_layer: _total(self._tokens[exit_layer], self._flops_to(exit_layer, lengths))
            for exit_layer in self._flops.exits
        }
        total = sum(flops.values())
        full_depth = _total(self._tokens.sum(axis=0), self._flops.full_depth(lengths))
        rows = self._tokens.sum(axis=1)[self._flops.exits.start :]
        layers, num_rows = np.array(self._flops.exits), max(int(rows.sum()), 1)
        mean = float((layers * rows).sum() / num_rows)
        # Layers whose branch is not run, as at speed 0, cost no classifier; the last has the teacher's.
        runs_lexical, *runs_branch = self._policy.runs_branch
        num_classifiers = np.cumsum([0, *runs_branch, True])[layers]
        paper = partial(self._flops.paper_saved_compute, mean, runs_lexical=runs_lexical)
        return ExitStats(
            names=self._names,
            exits={layer: self._of_exit(layer, flops[layer]) for layer in self._flops.exits},
            mean_exit_layer=mean,
            paper_saved_compute=paper(float((num_classifiers * rows).sum() / num_rows)) if total else 1.0,
            saved_compute=full_depth / total if total else 1.0,
            saved_compute_with_shadow=full_depth / (total + self._shadow_flops) if total else 1.0,
            shadow_texts=self._shadow_texts.build(),
            sampled_texts=self._build_sampled(),
        )

    def _build_sampled(self) -> AnsweredTexts:
        rows = self._sampled_texts.build().rows
        return AnsweredTexts(
            exit_layer=rows.exit_layer,
            first_uncertainty=rows.first_uncertainty,
            num_tokens=rows.num_tokens,
            num_unknown=rows.num_unknown,
            called=rows.called,
            one_holds=self._rule.calls_one_label,
        )

    def _flops_to(self, exit_layer: int, lengths: Counts) -> Counts:
        return self._flops.with_exits(
            lengths, np.full(len(lengths), exit_layer, dtype=np.int16), self._policy
        )

    def _flops_beyond(self, exit_layer: Counts, lengths: Counts) -> int:
        """Return the FLOPs of rows from where they left to the last layer; branches are run on the way."""
        run = self._flops.with_exits(lengths, exit_layer.astype(np.int16), self._policy)
        return int((self._flops_to(self._flops.num_layers, lengths) - run).sum())

    def _of_exit(self, exit_layer: int, flops: int) -> ExitLayerStats:
        agreeing, disagreeing = self._shadowed[exit_layer].tolist()
        return ExitLayerStats(
            called=self._called[exit_layer],
            tokens=self._tokens[exit_layer],
            uncertainty_sum=float(self._uncertainty_sum[exit_layer]),
            uncertainty_bins=self._uncertainty_bins[exit_layer],
            flops=flops,
            confusion=self._confusion_of(exit_layer) if self._is_labelled else None,
            shadowed=agreeing + disagreeing,
            agreeing=agreeing,
        )

    def _confusion_of(self, exit_layer: int) -> Counts:
        num_labels = len(self._labels)
        confusion = np.zeros(num_labels * num_labels, dtype=np.int64)
        first = exit_layer * len(confusion)
        for cell, rows in self._confusion.items():
            if first <= cell < first + len(confusion):
                confusion[cell - first] = rows
        return confusion.reshape(num_labels, num_labels)


def _total(rows_by_length: Counts, flops_by_length: Counts) -> int:
    """Return the FLOPs of so many rows of each length; of large models they are too many for 64 bits."""
    # Of no token there is no text.
    pairs = zip(rows_by_length[1:].tolist(), flops_by_length[1:].tolist(), strict=True)
    return sum(rows * flops for rows, flops in pairs)


def _counted(shape: tuple[int, ...], exits: Counts, places: npt.NDArray[np.integer]) -> Counts:
    """Return how many rows have each exit and place, of `shape`; places that are none are left out."""
    num_exits, width = shape
    codes = exits * width + places
    if places.dtype == np.int64 and len(places) and places.min() < 0:
        codes = codes[places >= 0]
    counts: Counts = np.bincount(codes, minlength=num_exits * width).reshape(shape)
    return counts


def shadow_rows(shadow: pa.RecordBatch, rule: AnswerRule, labels: tuple[str, ...]) -> ShadowRows:
    """Return what was answered to rows of the sample; what full depth says is known of the shadow's alone.

    Args:
        shadow: rows of a score shard.
        rule: of the job.
        labels: of the model.
    """
    called = read_calls(shadow, rule, labels)
    by_teacher = read_calls(shadow, rule, labels, prefix=schema.TEACHER)
    return ShadowRows(
        exit_layer=shadow[schema.EXIT_LAYER].to_numpy().astype(np.int64),
        uncertainty=shadow[schema.UNCERTAINTY].to_numpy().astype(np.float64),
        first_uncertainty=shadow[schema.FIRST_UNCERTAINTY].to_numpy().astype(np.float64),
        num_tokens=shadow[schema.NUM_TOKENS].to_numpy().astype(np.int64),
        num_unknown=shadow[schema.NUM_UNKNOWN_TOKENS].to_numpy().astype(np.int64),
        by_teacher=by_teacher,
        called=called,
        missed=by_teacher & ~called,
        disagrees=read_disagrees(shadow, rule, called, by_teacher),
    )
