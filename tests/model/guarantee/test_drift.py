from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.guarantee.drift import (
    LEAST_TEXTS,
    Drift,
    DriftReport,
    compare,
    join_rare_bins,
    stability_index,
)
from model.guarantee.histogram import Histogram
from model.guarantee.policy_reference import AnsweredTexts, Feature, feature_bins, policy_reference

COUNTS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=12)


def drawn(rng: np.random.Generator, num_texts: int, *, mean_tokens: float = 20.0) -> AnsweredTexts:
    """Texts of four exits and three labels."""
    exits = rng.choice([1, 2, 3, 4], num_texts, p=[0.5, 0.2, 0.1, 0.2])
    tokens = rng.poisson(mean_tokens, num_texts) + 2
    return AnsweredTexts(
        exit_layer=exits,
        first_uncertainty=rng.beta(1, 6, num_texts),
        num_tokens=tokens,
        num_unknown=rng.binomial(tokens, 0.02),
        called=np.eye(3, dtype=bool)[rng.choice(3, num_texts, p=[0.7, 0.25, 0.05])],
        one_holds=True,
    )


def held_against(texts: AnsweredTexts, job: AnsweredTexts) -> DriftReport:
    flat = np.zeros((len(texts), 4), dtype=np.float32)
    reference = policy_reference(
        texts, exits=range(1, 5), uncertainty=flat, uncertainty_of_speeds=flat, agrees=flat > 1
    )
    made = {
        feature: Histogram.of_places(bins, len(reference.histograms[feature].counts))
        for feature, bins in feature_bins(reference, job).items()
    }
    return compare(reference.histograms, made, num_texts=len(job))


@pytest.mark.parametrize("num_texts", [150, 1000])
def test_another_sample_of_the_same_texts_is_hardly_ever_called_drifted(num_texts: int):
    rng = np.random.default_rng(num_texts)
    alarms = 0
    for _ in range(100):
        report = held_against(drawn(rng, 1000), drawn(rng, num_texts))
        alarms += report.verdict is Drift.DRIFTED
        assert {each.feature for each in report.features} == set(Feature)
    # 1 in 1,000 is allowed: more than 2 of 100 come in one of 6,000 such tests.
    assert alarms <= 2


@pytest.mark.parametrize(
    ("changes", "feature"),
    [
        ({"num_tokens": lambda texts: texts.num_tokens * 2}, Feature.LENGTH),
        ({"exit_layer": lambda texts: 5 - texts.exit_layer}, Feature.EXIT),
        ({"called": lambda texts: np.roll(texts.called, 1, axis=1)}, Feature.ANSWER),
        ({"first_uncertainty": lambda texts: texts.first_uncertainty**1.5}, Feature.FIRST_EXIT),
        ({"num_unknown": lambda texts: texts.num_tokens // 3}, Feature.UNKNOWN),
    ],
)
def test_what_changed_is_named(changes: dict, feature: Feature):
    rng = np.random.default_rng(1)
    job = drawn(rng, 800)
    moved = replace(job, **{name: change(job) for name, change in changes.items()})
    report = held_against(drawn(rng, 2000), moved)
    assert report.verdict is Drift.DRIFTED
    assert feature in {each.feature for each in report.features if each.is_drifted}


def test_so_few_texts_tell_nothing():
    rng = np.random.default_rng(2)
    few = drawn(rng, LEAST_TEXTS - 1, mean_tokens=90)
    assert held_against(drawn(rng, 1000), few).verdict is Drift.UNTOLD
    assert held_against(drawn(rng, 1000), drawn(rng, 0)).verdict is Drift.UNTOLD


@given(COUNTS)
def test_joining_rare_bins_loses_no_text_and_leaves_none_rare(counts: list[tuple[int, int]]):
    one, two = (np.array(each) for each in zip(*counts, strict=True))
    joined = join_rare_bins(one, two)
    assert [each.sum() for each in joined] == [one.sum(), two.sum()]
    smaller = min(one.sum(), two.sum())
    if len(joined[0]) > 1:
        expected = (joined[0] + joined[1]) * smaller / (one.sum() + two.sum())
        assert expected.min() >= 5


@given(COUNTS)
def test_the_stability_index_is_symmetric_and_0_of_equal_spreads(counts: list[tuple[int, int]]):
    one, two = (np.array(each) for each in zip(*counts, strict=True))
    assert stability_index(one, two) == pytest.approx(stability_index(two, one))
    assert stability_index(one, one) == 0
    assert stability_index(one, two) >= -1e-12
