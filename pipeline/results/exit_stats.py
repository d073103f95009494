"""Exit statistics from finished score shards, streaming: what left where, how sure, and what it saved."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.guarantee.policy_reference import AnsweredTexts
from pipeline.contract import schema
from pipeline.contract.shards import with_metadata
from pipeline.results.shadow_texts import ShadowTexts

EXIT_STATS_FILE = "exit_stats.parquet"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Uncertainty lies in [0, 1]: bins this fine give quantiles to 1e-4 in constant memory.
NUM_BINS = 10_000

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ExitLayerStats:
    """What left at one exit.

    Attributes:
        called: (K,) rows by what they are called: their labels, or the cuts that they reach.
        tokens: (longest + 1,) rows by their tokens.
        uncertainty_sum: over the rows.
        uncertainty_bins: (10000,) rows by uncertainty.
        flops: of the rows, up to this exit.
        confusion: (labels, labels) rows whose true label is known, by it (first) and by their prediction;
            None where none is known.
        shadowed: rows of the shadow sample.
        agreeing: those of them with the full-depth answer.
    """

    called: Counts
    tokens: Counts
    uncertainty_sum: float
    uncertainty_bins: Counts
    flops: int
    confusion: Counts | None
    shadowed: int
    agreeing: int

    @property
    def rows(self) -> int:
        """Rows that left here."""
        return int(self.tokens.sum())

    @property
    def labelled(self) -> int:
        """Rows whose true label is known."""
        return 0 if self.confusion is None else int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """Those of them that were predicted right."""
        return 0 if self.confusion is None else int(self.confusion.trace())

    def quantile(self, share: float) -> float:
        """Return the uncertainty that `share` of the rows do not exceed, to 1e-4."""
        ends = np.cumsum(self.uncertainty_bins)
        return float(np.searchsorted(ends, share * ends[-1], side="left") + 0.5) / NUM_BINS


@dataclass(frozen=True, kw_only=True)
class ExitStats:
    """Exit statistics of one job.

    Attributes:
        names: what a row may be called: labels, or cuts; none of scores within a tolerance.
        exits: what left at each exit, by its number: 0, the lexical branch, where the model has one, and the
            layers, from 1.
        mean_exit_layer: over all rows; those that left before the first layer count 0.
        saved_compute: full depth's FLOPs over those of the job, with real lengths, attention products and the
            branches as run; each row counts, equal texts too, and the shadow sample only up to where it left.
        saved_compute_with_shadow: the same, what the shadow sample was run further counted too.
        paper_saved_compute: the same in the paper's FLOPs (128 tokens, linear layers only).
        shadow_texts: the shadow sample, each of its units once.
        sampled_texts: the sample that it lies in, likewise: what drift is told by.
    """

    names: tuple[str, ...]
    exits: dict[int, ExitLayerStats]
    mean_exit_layer: float
    paper_saved_compute: float
    saved_compute: float
    saved_compute_with_shadow: float
    shadow_texts: ShadowTexts
    sampled_texts: AnsweredTexts

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(each.rows for each in self.exits.values())

    @property
    def num_labelled(self) -> int:
        """Rows whose true label is known."""
        return sum(each.labelled for each in self.exits.values())

    @property
    def accuracy(self) -> float | None:
        """Share of the labelled rows that were predicted right; None where no label is known."""
        return _ratio(sum(each.correct for each in self.exits.values()), self.num_labelled)

    @property
    def num_shadow(self) -> int:
        """Rows of the shadow sample."""
        return sum(each.shadowed for each in self.exits.values())

    @property
    def num_shadow_disagreements(self) -> int:
        """Rows of the shadow sample whose answer is not full depth's."""
        return self.num_shadow - sum(each.agreeing for each in self.exits.values())

    @property
    def shadow_agreement(self) -> float | None:
        """Share of the shadow sample with full depth's answer; None without a sample."""
        return _ratio(self.num_shadow - self.num_shadow_disagreements, self.num_shadow)

    def as_table(self) -> pa.Table:
        """Return one row per exit; what holds for all of them is in the schema metadata."""
        stats, rows = list(self.exits.values()), max(self.rows, 1)
        flops = max(sum(each.flops for each in stats), 1)
        columns: dict[str, pa.Array] = {
            schema.EXIT_LAYER: pa.array(self.exits, pa.int16()),
            "rows": pa.array([each.rows for each in stats], pa.int64()),
            "share": pa.array([each.rows / rows for each in stats], pa.float64()),
            "flops_share": pa.array([each.flops / flops for each in stats], pa.float64()),
            "uncertainty_mean": pa.array([_ratio(s.uncertainty_sum, s.rows) for s in stats], pa.float64()),
            **{
                f"uncertainty_p{share * 100:02.0f}": pa.array(
                    [each.quantile(share) if each.rows else None for each in stats], pa.float64()
                )
                for share in QUANTILES
            },
            "called": pa.array(
                [list(zip(self.names, each.called.tolist(), strict=True)) for each in stats],
                pa.map_(pa.string(), pa.int64()),
            ),
            "labelled_rows": pa.array([each.labelled for each in stats], pa.int64()),
            "accuracy": pa.array([_ratio(s.correct, s.labelled) for s in stats], pa.float64()),
            "shadow_rows": pa.array([each.shadowed for each in stats], pa.int64()),
            "agreement": pa.array([_ratio(s.agreeing, s.shadowed) for s in stats], pa.float64()),
        }
        table = pa.table(columns)
        overall = {
            "rows": self.rows,
            "mean_exit_layer": self.mean_exit_layer,
            "paper_saved_compute": self.paper_saved_compute,
            "saved_compute": self.saved_compute,
            "saved_compute_with_shadow": self.saved_compute_with_shadow,
            "accuracy": self.accuracy,
            "agreement_on_shadow_sample": self.shadow_agreement,
            "shadow_texts": self.shadow_texts.num_texts,
            "shadow_texts_that_disagree": self.shadow_texts.num_disagreements,
        }
        return table.cast(with_metadata(table.schema, {"overall": json.dumps(overall)}))


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
