"""What a policy did to the rows that tested it: what a job under it is held against.

All of it is counts, so that a manifest can hold it and a job of any size be compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from model.exits.policy import ExitPolicy
from model.guarantee.histogram import Histogram, bins_of, quantile_edges

# Of lengths and of the first exit's uncertainty.
_QUANTILES = 10
# Shares of unknown tokens; the first bin has none.
_UNKNOWN_EDGES = (1e-9, 0.05, 0.2)
# Bins of uncertainty in the curves.
CURVE_BINS = 20
# Speeds of the paper's that are told.
SPEEDS = (0.1, 0.3, 0.5, 0.8)

Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


class Feature(StrEnum):
    """What rows are compared by."""

    FIRST_EXIT = "uncertainty at the first exit"
    EXIT = "exit layer"
    LENGTH = "tokens"
    ANSWER = "answer"
    UNKNOWN = "unknown tokens"


@dataclass(frozen=True, kw_only=True)
class AnsweredTexts:
    """What a policy answered to some texts, as shards tell it.

    Attributes:
        exit_layer: (rows,) a layer from 1; 0 for the lexical branch.
        first_uncertainty: (rows,) in [0, 1], at the first exit that is run.
        num_tokens: (rows,).
        num_unknown: (rows,) of them that the tokenizer has no word for.
        called: (rows, K) bool, what each is called.
        one_holds: whether each is called one thing, a label, out of many.
    """

    exit_layer: Places
    first_uncertainty: npt.NDArray[np.float64]
    num_tokens: Places
    num_unknown: Places
    called: Bools
    one_holds: bool

    def __len__(self) -> int:
        return len(self.exit_layer)


@dataclass(frozen=True, kw_only=True)
class ExitCurve:
    """Agreement with full depth by uncertainty, of one exit on all test rows, wherever they leave.

    Attributes:
        exit_layer: which exit.
        rows: (20,) in equal bins of uncertainty from 0 to 1, the exit's scaling applied.
        agreeing: (20,) of them with full depth's answer.
    """

    exit_layer: int
    rows: tuple[int, ...]
    agreeing: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SpeedExits:
    """Where the test rows would leave at one of the paper's speeds.

    Attributes:
        speed: the threshold of all layers.
        exits: (num_layers,) rows by the layer where they leave.
        uncertainty: (20,) rows by their uncertainty there, in equal bins from 0 to 1.
    """

    speed: float
    exits: tuple[int, ...]
    uncertainty: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class FeatureHistogram:
    """What the test rows are like in one feature.

    Attributes:
        feature: which.
        histogram: of the rows.
    """

    feature: Feature
    histogram: Histogram


@dataclass(frozen=True, kw_only=True)
class PolicyReference:
    """What a policy did to its test rows.

    Attributes:
        features: what the rows are like, in the order of `Feature`.
        curves: every exit's agreement by uncertainty.
        speeds: where the rows would leave at some of the paper's speeds.
    """

    features: tuple[FeatureHistogram, ...]
    curves: tuple[ExitCurve, ...]
    speeds: tuple[SpeedExits, ...]

    @property
    def histograms(self) -> dict[Feature, Histogram]:
        """What the rows are like, by feature."""
        return {each.feature: each.histogram for each in self.features}


def feature_values(texts: AnsweredTexts) -> dict[Feature, npt.NDArray[np.float64]]:
    """Return what each text is compared by, (rows,) each.

    The answer is the label's number where one holds, and else how many things a text is called.
    """
    answer = texts.called.argmax(axis=1) if texts.one_holds else texts.called.sum(axis=1)
    return {
        Feature.FIRST_EXIT: texts.first_uncertainty,
        Feature.EXIT: texts.exit_layer.astype(np.float64),
        Feature.LENGTH: texts.num_tokens.astype(np.float64),
        Feature.ANSWER: answer.astype(np.float64),
        Feature.UNKNOWN: texts.num_unknown / np.maximum(texts.num_tokens, 1),
    }


def features_of(texts: AnsweredTexts, num_exits: int) -> dict[Feature, Histogram]:
    """Return histograms of what test rows are like, their edges chosen by these rows.

    Args:
        texts: as they were answered.
        num_exits: one more than the number of the last layer.
    """
    values = feature_values(texts)
    num_answers = texts.called.shape[1] + (not texts.one_holds)
    edges: dict[Feature, Sequence[float]] = {
        Feature.FIRST_EXIT: quantile_edges(values[Feature.FIRST_EXIT], _QUANTILES),
        Feature.EXIT: range(1, num_exits),
        Feature.LENGTH: quantile_edges(values[Feature.LENGTH], _QUANTILES),
        Feature.ANSWER: range(1, max(num_answers, 2)),
        Feature.UNKNOWN: _UNKNOWN_EDGES,
    }
    return {feature: Histogram.of(values[feature], edges[feature]) for feature in Feature}


def curve_bins(uncertainty: npt.NDArray[np.floating]) -> Places:
    """Return which of the 20 equal bins each uncertainty falls into."""
    bins: Places = np.minimum((uncertainty * CURVE_BINS).astype(np.int64), CURVE_BINS - 1)
    return bins


def exit_curves(uncertainty: npt.NDArray[np.float32], agrees: Bools, exits: range) -> tuple[ExitCurve, ...]:
    """Return every exit's agreement by uncertainty.

    Args:
        uncertainty: (rows, num_exits).
        agrees: (rows, num_exits).
        exits: their numbers.
    """
    bins = curve_bins(uncertainty)

    def counted(places: Places) -> tuple[int, ...]:
        return tuple(np.bincount(places, minlength=CURVE_BINS).tolist())

    return tuple(
        ExitCurve(
            exit_layer=exit_layer,
            rows=counted(bins[:, place]),
            agreeing=counted(bins[agrees[:, place], place]),
        )
        for place, exit_layer in enumerate(exits)
    )


def speed_exits(uncertainty: npt.NDArray[np.float32]) -> tuple[SpeedExits, ...]:
    """Return where rows would leave at some of the paper's speeds.

    Args:
        uncertainty: (rows, num_layers) of the layers, no scaling applied.
    """
    num_rows, num_layers = uncertainty.shape
    found = []
    for speed in SPEEDS:
        policy = ExitPolicy.from_speed(speed, num_layers=num_layers)
        thresholds = np.array(policy.thresholds, dtype=np.float32)
        leaves = np.column_stack([uncertainty[:, :-1] < thresholds, np.ones(num_rows, dtype=np.bool_)])
        layer = leaves.argmax(axis=1)
        there = curve_bins(uncertainty[np.arange(num_rows), layer])
        found.append(
            SpeedExits(
                speed=speed,
                exits=tuple(np.bincount(layer, minlength=num_layers).tolist()),
                uncertainty=tuple(np.bincount(there, minlength=CURVE_BINS).tolist()),
            )
        )
    return tuple(found)


def policy_reference(
    texts: AnsweredTexts,
    *,
    exits: range,
    uncertainty: npt.NDArray[np.float32],
    uncertainty_of_speeds: npt.NDArray[np.float32],
    agrees: Bools,
) -> PolicyReference:
    """Return what a policy did to test rows.

    Args:
        texts: as the policy answers them.
        exits: the numbers of all exits.
        uncertainty: (rows, num_exits) of every exit, scalings applied.
        uncertainty_of_speeds: (rows, num_layers) of the layers, none applied.
        agrees: (rows, num_exits) whether each exit answers as full depth does.
    """
    histograms = features_of(texts, exits.stop)
    return PolicyReference(
        features=tuple(FeatureHistogram(feature=name, histogram=made) for name, made in histograms.items()),
        curves=exit_curves(uncertainty, agrees, exits),
        speeds=speed_exits(uncertainty_of_speeds),
    )


def feature_bins(reference: PolicyReference, texts: AnsweredTexts) -> dict[Feature, Places]:
    """Return which of the reference's bins each text falls into, (rows,) by feature."""
    values = feature_values(texts)
    return {
        feature: bins_of(values[feature], histogram.edges)
        for feature, histogram in reference.histograms.items()
    }
