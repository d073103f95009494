import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from model.errors import ParameterError
from model.guarantee.exit_outcomes import Calls, ExitOutcomes
from model.guarantee.finite_corpus import CorpusSize, corpus_test, largest_risk, texts_of_label
from model.guarantee.risk_constraint import RiskConstraint
from model.guarantee.risk_control import candidate_thresholds, fixed_sequence_test
from model.guarantee.threshold_search import SearchEffort
from tests.model.exit_populations import NUM_LABELS, population

SHARES = st.integers(1, 300).map(lambda thousandths: thousandths / 1000)
CHANCES = st.sampled_from([0.0001, 0.002, 0.01, 0.05])
# Of so many the promise that is broken is broken clearly oftener than it says: in about 18 cases of 100.
REDRAWS = 100
CALIBRATION_ROWS = 3000
SHORT_PATH = SearchEffort(num_coarse=8, num_fine=12, num_risks=12)
COMMON, RARE = 0, 3


def rows_of(labels):
    """Rows that the teacher gives these labels, and one exit too."""
    answers = np.array(labels)[:, None]
    calls = {
        label: Calls(by_exit=answers == label, by_teacher=answers[:, 0] == label)
        for label in range(NUM_LABELS)
    }
    return ExitOutcomes(
        uncertainty=np.zeros((len(answers), 0), dtype=np.float32),
        disagrees=np.zeros(answers.shape, dtype=bool),
        exit_cost=np.ones(answers.shape),
        branch_cost=np.ones((len(answers), 0)),
        calls=calls,
    )


def chance_of_more(share: float, num_texts: int, risk: float) -> float:
    # Of counts that are whole, a share of 0.29 of 100 allows 29, whatever 0.29 * 100 is.
    return float(binom.sf(np.floor(round(share * num_texts, 9)), num_texts, risk))


@given(share=SHARES, num_texts=st.integers(1, 10**6), chance=CHANCES)
def test_more_than_the_share_disagrees_by_the_chance_at_most_and_no_larger_risk_would_do(
    share, num_texts, chance
):
    risk = largest_risk(share, CorpusSize(num_units=num_texts), chance=chance)
    assert 0 < risk <= share
    assert chance_of_more(share, num_texts, risk) <= chance * (1 + 1e-6)
    if risk < share:
        assert chance_of_more(share, num_texts, risk * 1.001) > chance


@given(share=SHARES, num_texts=st.integers(0, 10**5), more=st.integers(0, 10**6), chance=CHANCES)
def test_of_at_least_so_many_texts_it_holds_for_any_number(share, num_texts, more, chance):
    risk = largest_risk(share, CorpusSize(num_units=num_texts, is_complete=False), chance=chance)
    assert chance_of_more(share, num_texts + more, risk) <= chance * (1 + 1e-6)


@given(
    share=st.floats(0, 1),
    num_rows=st.integers(1, 5000),
    num_texts=st.integers(0, 10**6),
    chance=CHANCES,
    seed=st.integers(0, 99),
)
def test_a_label_has_fewer_texts_than_were_reckoned_with_by_the_chance_at_most(
    share, num_rows, num_texts, chance, seed
):
    size = CorpusSize(num_units=num_texts)
    drawn = np.random.default_rng(seed).binomial(num_rows, share, size=400)
    counts, times = np.unique(drawn, return_counts=True)
    reckoned = [texts_of_label(size, int(count), num_rows, chance=chance).num_units for count in counts]
    too_few = binom.cdf(np.array(reckoned) - 1, num_texts, share)
    assert np.average(too_few, weights=times) <= chance + 4 * (chance / len(drawn)) ** 0.5
    assert all(0 <= number <= num_texts for number in reckoned)


def test_chances_to_fail_add_up():
    constraint = RiskConstraint(max_disagreement=0.02, max_missed={RARE: 0.1, COMMON: 0.05}, confidence=0.9)
    labels = np.array([COMMON] * 700 + [1] * 200 + [RARE] * 100)
    size = CorpusSize(num_units=20_000)
    tested = corpus_test(constraint, size, rows_of(labels))
    # A fifth of 10 %; a third of it for each part, and half of that where texts are counted first.
    assert tested.confidence == pytest.approx(0.92)
    assert tested.max_risk == largest_risk(0.02, size, chance=0.02 / 3)
    rare = texts_of_label(size, 100, 1000, chance=0.01 / 3)
    assert dict(tested.max_label_risks)[RARE] == largest_risk(0.1, rare, chance=0.01 / 3)
    assert 0.6 * 2000 < rare.num_units < 2000
    assert tested.constraint.confidence == tested.confidence
    assert list(tested.constraint.max_missed) == [RARE, COMMON]


def test_a_label_that_nobody_has_met_can_hardly_be_promised_anything():
    constraint = RiskConstraint(max_disagreement=0.02, max_missed={RARE: 0.1})
    tested = corpus_test(constraint, CorpusSize(num_units=20_000), rows_of(np.zeros(1000)))
    assert dict(tested.max_label_risks)[RARE] < 0.001


@pytest.mark.parametrize(("num_texts", "least"), [(99, "0.011"), (50, "0.02"), (2, "0.5")])
def test_a_corpus_may_be_too_small_for_a_share(num_texts, least):
    constraint = RiskConstraint(max_disagreement=0.01)
    told = rf"`max_disagreement` 0.01 of {num_texts} distinct texts is .*: ask for {least} or more, for"
    with pytest.raises(ParameterError, match=told):
        corpus_test(constraint, CorpusSize(num_units=num_texts), rows_of(np.zeros(9)))
    enough = RiskConstraint(max_disagreement=float(least))
    corpus_test(enough, CorpusSize(num_units=num_texts), rows_of(np.zeros(9)))


def test_of_a_single_text_no_share_can_be_asked_for():
    constraint = RiskConstraint(max_disagreement=0.9)
    with pytest.raises(ParameterError, match="leave early: ask for `promise` population, or for `speed` 0"):
        corpus_test(constraint, CorpusSize(num_units=1), rows_of(np.zeros(9)))


def test_of_no_text_everything_is_promised():
    constraint = RiskConstraint(max_disagreement=0.01, max_missed={RARE: 0.1})
    tested = corpus_test(constraint, CorpusSize(num_units=0), rows_of(np.zeros(1000)))
    assert tested.max_risk == 0.01
    assert 0 < dict(tested.max_label_risks)[RARE] <= 0.1


@pytest.mark.no_cover
@pytest.mark.parametrize("max_missed", [{}, {COMMON: 0.15}])
def test_promises_of_a_corpus_are_broken_no_oftener_than_they_say(max_missed):
    """Through the real search and test; those of all texts are broken in a corpus far more often."""
    everything, size = population("sensible"), CorpusSize(num_units=200)
    constraint = RiskConstraint(max_disagreement=0.1, max_missed=max_missed)
    rng = np.random.default_rng(1)
    broken, saves = {"corpus": 0, "population": 0}, 0
    for _ in range(REDRAWS):
        drawn = everything.take(rng.integers(0, len(everything), CALIBRATION_ROWS))
        search, test = drawn.take(slice(0, None, 4)), drawn.take(np.arange(CALIBRATION_ROWS) % 4 > 0)
        corpus = everything.take(rng.integers(0, len(everything), size.num_units))
        tested = corpus_test(constraint, size, test).constraint
        for name, to_keep in (("corpus", tested), ("population", constraint)):
            path = candidate_thresholds(search, to_keep, effort=SHORT_PATH)
            found = fixed_sequence_test(path, test, to_keep)
            if found is None:
                continue
            saves += name == "corpus" and corpus.saved_compute(found.thresholds) > 1.05
            is_other = corpus.disagrees_at(corpus.exits_taken(found.thresholds))
            broken[name] += is_other.mean() > constraint.max_disagreement or any(
                is_other[corpus.calls[label].by_teacher].mean() > share for label, share in max_missed.items()
            )
    assert broken["corpus"] <= binom.ppf(0.999, REDRAWS, 1 - constraint.confidence)
    assert broken["population"] > binom.ppf(0.999, REDRAWS, 1 - constraint.confidence)
    assert saves > 0.9 * REDRAWS


def test_of_what_a_job_calls_something_there_is_no_promise_of_a_corpus():
    constraint = RiskConstraint(max_disagreement=0.1, max_false={0: 0.1})
    with pytest.raises(ParameterError, match="`max_false` is promised of all texts like the calibration's"):
        corpus_test(constraint, CorpusSize(num_units=1000), rows_of(np.zeros(9)))
