import numpy as np
import pytest
from scipy.stats import binom

from model.errors import ParameterError
from model.guarantee import threshold_search
from model.guarantee.binomial import p_value, upper_bound
from model.guarantee.risk_control import Evidence, Promise, candidates, certified, last_kept
from tests.model.exit_populations import KINDS, population

REDRAWS = 1000
RARE = 3


@pytest.fixture
def short_path(monkeypatch):
    """Fewer candidates: what is certified must hold for any."""
    monkeypatch.setattr(threshold_search, "_COARSE", 6)
    monkeypatch.setattr(threshold_search, "_FINE", 5)
    monkeypatch.setattr(threshold_search, "_AT_RISKS", 5)


def is_kept(rows, thresholds, promise):
    """Whether a policy keeps a promise in a whole population."""
    wrong = rows.is_wrong_at(rows.exits(thresholds))
    return wrong.mean() <= promise.max_disagreement and all(
        wrong[rows.teacher_labels == label].mean() <= share for label, share in promise.max_missed.items()
    )


def violations(kind, promise, num_rows, *, choose=last_kept, confidences=(0.95, 0.9)):
    """Return how many of many calibrations give a policy that breaks its promise, by confidence."""
    everything = population(kind)
    rng = np.random.default_rng(1)
    broken = dict.fromkeys(confidences, 0)
    for _ in range(REDRAWS):
        drawn = everything.take(rng.integers(0, len(everything), num_rows))
        search, test = drawn.take(slice(0, None, 2)), drawn.take(slice(1, None, 2))
        path = candidates(search, promise(0.95))
        for confidence in confidences:
            found = choose(path, test, promise(confidence))
            broken[confidence] += found is not None and not is_kept(
                everything, found.thresholds, promise(confidence)
            )
    return broken


def allowed(confidence):
    """Violations among so many redraws that chance alone exceeds once in a thousand times."""
    return binom.ppf(0.999, REDRAWS, 1 - confidence)


@pytest.mark.parametrize("kind", KINDS)
def test_certificates_are_broken_no_oftener_than_they_say(kind, short_path):
    broken = violations(kind, lambda confidence: Promise(max_disagreement=0.08, confidence=confidence), 400)
    for confidence, count in broken.items():
        assert count <= allowed(confidence)


@pytest.mark.parametrize("kind", KINDS)
def test_nor_are_those_for_a_rare_label(kind, short_path):
    broken = violations(
        kind,
        lambda confidence: Promise(
            max_disagreement=0.3, max_missed={RARE: 0.15, 0: 0.1}, confidence=confidence
        ),
        1500,
    )
    for confidence, count in broken.items():
        assert count <= allowed(confidence)


def test_the_candidate_after_the_last_would_break_them(short_path):
    """The mistake of a published implementation; shows that these simulations would notice."""

    def one_too_far(path, test, promise):
        last = last_kept(path, test, promise)
        place = -1 if last is None else path.index(last)
        return path[min(place + 1, len(path) - 1)] if path else None

    broken = violations(
        "sensible",
        lambda confidence: Promise(max_disagreement=0.08, confidence=confidence),
        400,
        choose=one_too_far,
    )
    assert broken[0.95] > allowed(0.95)


def test_certificates_are_not_idle_either():
    """Of sensible exits most of what could be saved with hindsight is."""
    everything = population("sensible")
    full = everything.layer_cost[:, -1].mean()
    promise = Promise(max_disagreement=0.05)
    with_hindsight = [each for each in candidates(everything, promise) if each.risk <= 0.05][-1]
    rng = np.random.default_rng(2)
    kept = []
    for _ in range(20):
        drawn = everything.take(rng.integers(0, len(everything), 8000))
        found = certified(drawn.take(slice(0, None, 2)), drawn.take(slice(1, None, 2)), promise)
        kept.append(everything.speed_up(found.thresholds) / (full / with_hindsight.cost))
    assert np.median(kept) > 0.95


@pytest.mark.parametrize("kind", ["never agree", "useless"])
def test_where_nothing_can_be_certified_nothing_is(kind):
    rows = population(kind, num_rows=4000)
    promise = Promise(max_disagreement=0.01)
    found = certified(rows.take(slice(0, None, 2)), rows.take(slice(1, None, 2)), promise)
    assert found is None or is_kept(rows, found.thresholds, promise)
    if kind == "never agree":
        assert found is None


@pytest.mark.parametrize(("test_rows", "is_enough"), [(298, False), (299, True)])
def test_299_rows_without_disagreement_certify_1_percent(test_rows, is_enough):
    rows = population("perfect", num_rows=2000)
    found = certified(
        rows.take(slice(1000, None)), rows.take(slice(test_rows)), Promise(max_disagreement=0.01)
    )
    assert (found is not None) == is_enough


def test_no_rows_certify_nothing():
    rows = population("perfect", num_rows=10)
    promise = Promise(max_disagreement=0.01)
    assert certified(rows.take(slice(0)), rows, promise) is None
    assert certified(rows, rows.take(slice(0)), promise) is None


def test_a_p_value_is_the_largest_of_its_parts():
    wrong, labels = np.array([1, 0, 0, 1, 0], dtype=bool), np.array([0, 0, 1, 1, 1])
    promise = Promise(max_disagreement=0.4, max_missed={1: 0.6, 2: 0.5})
    assert promise.p_value(wrong, labels) == 1, "of no rows nothing is known"
    promise = Promise(max_disagreement=0.4, max_missed={1: 0.6})
    assert promise.p_value(wrong, labels) == max(p_value(2, 5, 0.4), p_value(1, 3, 0.6))


def test_a_row_weighs_what_it_uses_up_of_the_promise():
    labels = np.array([0, 0, 0, 1])
    weights = Promise(max_disagreement=0.01, max_missed={1: 0.02, 2: 0.5}).weights(labels)
    # One wrong answer: a quarter of all rows against 1 %, and all rows of its label against 2 %.
    assert weights.tolist() == [1, 1, 1, 1 + (1 / 0.02) / (0.25 / 0.01)]


def test_evidence_is_counts_and_bounds():
    wrong, labels = np.array([1, 0, 0, 1, 0], dtype=bool), np.array([0, 0, 1, 1, 1])
    evidence = Evidence.of(wrong, labels, labels=(1,), confidence=0.9)
    assert (evidence.num_rows, evidence.num_wrong) == (5, 2)
    assert evidence.wrong_bound == upper_bound(2, 5, 0.9)
    assert evidence.missed == {1: (1, 3, upper_bound(1, 3, 0.9))}


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("option", ["max_disagreement", "max_missed"])
def test_a_share_is_above_0_and_below_1(option, share):
    given = {"max_disagreement": 0.01, option: {0: share} if option == "max_missed" else share}
    with pytest.raises(ParameterError, match=rf"--{option.replace('_', '-')} \S+ is not a share above 0"):
        Promise(**given)


@pytest.mark.parametrize("confidence", [0, 0.49, 1, 95, float("nan")])
def test_a_confidence_is_below_1(confidence):
    with pytest.raises(ParameterError, match=r"`confidence` \S+ is not at least 0\.5 and below 1"):
        Promise(max_disagreement=0.01, confidence=confidence)


def test_a_promise_says_what_it_is():
    promise = Promise(max_disagreement=0.01, max_missed={1: 0.02})
    assert promise.describe(("ham", "spam")) == "max disagreement 0.01, max missed spam=0.02, confidence 0.95"
