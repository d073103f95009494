"""Whether the texts of a job are like those of the calibration: by how much they differ, and how surely.

The size is the population stability index (Siddiqi 2006, "Credit Risk Scorecards"), of which it is custom to
call 0.1 some and 0.25 much. The sureness is a chi-squared test of homogeneity between texts drawn
independently, so that a job of few of them is not called drifted for chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2_contingency

from model.guarantee.histogram import Histogram
from model.guarantee.policy_reference import Feature

# From here on texts are called other ones, where chance would hardly do it.
DRIFTED_INDEX = 0.1
# How often one of the features, of texts like the calibration's, may be called drifted by chance.
FALSE_ALARMS = 0.001
# So few texts tell nothing.
LEAST_TEXTS = 100
# Below so many texts to expect in a bin, it is joined with others: the test is not exact there.
_LEAST_EXPECTED = 5.0
# Added to each bin, so that an empty one does not make the index infinite.
_PSEUDO_COUNT = 0.5


class Drift(StrEnum):
    """Whether texts are like the calibration's."""

    NONE = "none"
    DRIFTED = "drifted"
    UNTOLD = "untold"


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """How far texts are from the calibration's in one feature.

    Attributes:
        feature: which.
        index: the population stability index, of bins of at least so many texts; 0 where there is one bin.
        p_value: how likely texts that are alike are so far apart; 1 where there is one bin.
        calibration: its rows.
        job: the job's texts, in the same bins.
        is_drifted: whether they differ by much, and not by chance.
    """

    feature: Feature
    index: float
    p_value: float
    calibration: Histogram
    job: Histogram
    is_drifted: bool


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """How far the texts of a job are from the calibration's.

    Attributes:
        verdict: of all features.
        num_texts: of the job, drawn independently.
        features: one by one.
    """

    verdict: Drift
    num_texts: int
    features: tuple[FeatureDrift, ...]


def stability_index(one: npt.NDArray[np.int64], two: npt.NDArray[np.int64]) -> float:
    """Return the population stability index of two samples in the same bins, (bins,) counts each.

    >>> round(stability_index(np.array([50, 50]), np.array([50, 50])), 3)
    0.0
    >>> round(stability_index(np.array([900, 100]), np.array([500, 500])), 2)
    0.88
    """
    shares = [(counts + _PSEUDO_COUNT) / (counts + _PSEUDO_COUNT).sum() for counts in (one, two)]
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())


def join_rare_bins(
    one: npt.NDArray[np.int64], two: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Join bins until the smaller sample can be expected to have 5 texts in each.

    Which bins are rare is told by both samples together, where they are alike.

    Args:
        one: (bins,) counts.
        two: (bins,) counts.

    Returns:
        The same samples in as many bins or fewer.

    >>> join_rare_bins(np.array([50, 1, 1, 0]), np.array([50, 2, 0, 40]))
    (array([50,  2]), array([50, 42]))
    """
    expected = (one + two) * min(one.sum(), two.sum()) / max((one + two).sum(), 1)
    order = np.argsort(-expected, kind="stable")
    is_common = expected[order] >= _LEAST_EXPECTED
    common, rare = order[is_common], order[~is_common]
    joined = []
    for counts in (one, two):
        rest = counts[rare].sum()
        joined.append(np.append(counts[common], rest))
    if expected[rare].sum() < _LEAST_EXPECTED and len(common):
        # Too few even together: they go with the least common.
        for counts in joined:
            counts[-2] += counts[-1]
        joined = [counts[:-1] for counts in joined]
    return joined[0], joined[1]


def compare(
    reference: Mapping[Feature, Histogram], job: Mapping[Feature, Histogram], *, num_texts: int
) -> DriftReport:
    """Hold a job's texts against the calibration's.

    Args:
        reference: of the calibration's test rows.
        job: of as many texts of the job, one of each unit, in the same bins.
        num_texts: of the job.
    """
    features = tuple(_compare(feature, reference[feature], job[feature], len(job)) for feature in job)
    if any(each.is_drifted for each in features) and num_texts >= LEAST_TEXTS:
        verdict = Drift.DRIFTED
    else:
        verdict = Drift.UNTOLD if num_texts < LEAST_TEXTS else Drift.NONE
    return DriftReport(verdict=verdict, num_texts=num_texts, features=features)


def _compare(feature: Feature, reference: Histogram, job: Histogram, num_features: int) -> FeatureDrift:
    one, two = join_rare_bins(np.array(reference.counts), np.array(job.counts))
    index, p_value = 0.0, 1.0
    if len(one) > 1 and one.sum() and two.sum():
        index = stability_index(one, two)
        p_value = float(chi2_contingency(np.stack([one, two]), correction=False).pvalue)
    return FeatureDrift(
        feature=feature,
        index=index,
        p_value=p_value,
        calibration=reference,
        job=job,
        is_drifted=index >= DRIFTED_INDEX and p_value < FALSE_ALARMS / num_features,
    )
