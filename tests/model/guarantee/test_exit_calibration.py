from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.answers.scaling import Scaling
from model.errors import ParameterError
from model.guarantee.binomial import rows_needed, upper_bound
from model.guarantee.calibration_split import search_rows
from model.guarantee.failure import explain_failure
from model.guarantee.finite_corpus import CorpusSize
from model.guarantee.risk_constraint import RiskConstraint
from model.guarantee.risk_control import RiskEstimate
from model.guarantee.target_speedup import highest_saved_compute
from model.guarantee.temperature_scaling import expected_calibration_error
from model.guarantee.threshold_search import SearchEffort
from model.guarantee.unit import Unit
from tests.model.exit_populations import CALIBRATED_FOR, LABELS, LAYERS, exit_calibration

FULL_DEPTH = (0.0,) * (LAYERS - 1)


@pytest.fixture(scope="module")
def calibration():
    return exit_calibration()


def teacher_labels(calibration):
    return calibration.teacher_logits.argmax(axis=1)


def disagreements(calibration, thresholds):
    """(rows,) whether each test row is answered otherwise."""
    test = ~calibration.is_search
    # Of a text of four times the tokens, twice the uncertainty will do.
    uncertainty = calibration.uncertainty[test, :-1] / np.sqrt(calibration.num_tokens[test, None])
    leaves = np.append(
        uncertainty < np.array(thresholds, dtype=np.float32), np.ones((len(uncertainty), 1)), 1
    )
    disagrees = calibration.logits.argmax(axis=2) != teacher_labels(calibration)[:, None]
    return disagrees[test][np.arange(len(uncertainty)), leaves.argmax(axis=1)]


def test_a_certificate_is_kept_on_the_rows_that_test_it(calibration):
    policy = calibration.policy(max_disagreement=0.02, confidence=0.9)
    disagrees = disagreements(calibration, policy.thresholds)
    assert policy.is_certified
    assert policy.scalings == calibration.scalings
    assert policy.length_exponent == 0.5
    assert policy.saved_compute > 1.3
    assert (policy.risk.num_rows, policy.risk.num_disagreements) == (4000, disagrees.sum())
    assert policy.risk.upper_bound == upper_bound(int(disagrees.sum()), 4000, 0.9) <= 0.02
    assert policy.name == "max disagreement 0.02, confidence 0.9, of the texts"
    assert (policy.max_disagreement, policy.target_speedup, policy.note) == (0.02, None, "")
    assert policy.num_calibration_rows == len(calibration) == 6000


@pytest.mark.parametrize(
    "asked", [{"max_disagreement": 0.02}, {"max_disagreement": 1e-5}, {"target_speedup": 2}]
)
def test_every_policy_says_what_it_holds_for(calibration, asked):
    assert calibration.policy(**asked).calibrated_for == CALIBRATED_FOR


@pytest.mark.parametrize(
    ("unit", "words"), [(Unit.ROWS, "of the rows"), (Unit.GROUPS, "of the texts, one of each group")]
)
def test_every_policy_says_what_its_shares_are_of(calibration, unit, words):
    by_unit = replace(calibration, unit=unit)
    policy = by_unit.policy(max_disagreement=0.02)
    assert policy.unit is unit
    assert policy.name == f"max disagreement 0.02, confidence 0.95, {words}"
    assert policy.thresholds == calibration.policy(max_disagreement=0.02).thresholds
    assert by_unit.policy(target_speedup=2).unit is unit


def test_a_corpus_is_counted_by_the_unit_of_the_calibration(calibration):
    size = CorpusSize(num_units=5000, unit=Unit.ROWS)
    policy = replace(calibration, unit=Unit.ROWS).policy(max_disagreement=0.05, corpus=size)
    assert policy.name == "max disagreement 0.05, confidence 0.95, of 5,000 rows"
    with pytest.raises(ParameterError, match="`corpus` counts rows, and the calibration is of texts"):
        calibration.policy(max_disagreement=0.05, corpus=size)


def test_the_more_may_disagree_the_faster_it_is(calibration):
    speeds = [calibration.policy(max_disagreement=share).saved_compute for share in (0.005, 0.01, 0.02, 0.05)]
    assert speeds == sorted(speeds)
    assert speeds[0] < speeds[-1]


def test_a_label_may_be_kept_closer(calibration):
    policy = calibration.policy(max_disagreement=0.05, max_missed={"spam": 0.02})
    disagrees, teacher = (
        disagreements(calibration, policy.thresholds),
        teacher_labels(calibration)[~calibration.is_search],
    )
    (spam,) = policy.risk.per_name
    assert spam.part.name == LABELS.index("spam")
    assert (spam.num_wrong, spam.num_rows) == (disagrees[teacher == 1].sum(), (teacher == 1).sum())
    assert spam.upper_bound <= 0.02
    assert policy.saved_compute < calibration.policy(max_disagreement=0.05).saved_compute


def test_a_label_that_is_none_of_the_models_is_refused(calibration):
    with pytest.raises(
        ParameterError, match=r"`max_missed` eggs: nothing is called so; texts are called ham"
    ):
        calibration.policy(max_disagreement=0.05, max_missed={"eggs": 0.02})


@pytest.mark.parametrize(
    ("asked", "note"),
    [
        (
            {"max_disagreement": 0.0005},
            "test rows: full depth; 0.0005 at 0.95 takes 5,990 test rows, none of which disagrees, "
            "and half as many to search with",
        ),
        (
            {"max_disagreement": 0.1, "max_missed": {"spam": 0.005}},
            "test rows that the teacher calls spam: full depth; 0.005 at 0.95 takes ",
        ),
    ],
)
def test_what_cannot_be_shown_says_how_many_rows_it_would_take(calibration, asked, note):
    policy = calibration.policy(**asked)
    assert not policy.is_certified
    assert policy.thresholds == FULL_DEPTH
    assert policy.saved_compute == 1
    assert note in policy.note


def test_exits_that_always_disagree_need_no_more_rows(calibration):
    logits = calibration.logits.copy()
    logits[:, :-1] = np.eye(3)[(teacher_labels(calibration) + 1) % 3][:, None]
    # Of one length, so that no few texts cost much.
    even = replace(calibration, logits=logits, num_tokens=np.full(len(calibration), 20))
    policy = even.policy(max_disagreement=0.01)
    assert not policy.is_certified
    assert policy.thresholds == FULL_DEPTH
    assert policy.note


def test_exits_that_save_no_time_are_left_out(calibration):
    dear = replace(calibration.cost, branch_seconds=1000.0)
    policy = replace(calibration, cost=dear).policy(max_disagreement=0.05)
    assert policy.thresholds == FULL_DEPTH
    assert policy.note == "no exit saves any time: full depth"


def test_with_less_effort_fewer_thresholds_are_tried(calibration):
    one = SearchEffort(num_coarse=1, num_fine=1, num_risks=0, num_closed=0)
    asked = {"max_disagreement": 0.05, "corpus": CorpusSize(num_units=50_000)}
    short, full = calibration.policy(**asked, effort=one), calibration.policy(**asked)
    assert short.is_certified
    assert short.thresholds != full.thresholds
    assert short.saved_compute < full.saved_compute


def test_a_failure_counts_the_test_rows_that_the_constraint_is_about(calibration):
    outcomes, is_search = calibration.latency_outcomes, calibration.is_search
    search, test = outcomes.take(is_search), outcomes.take(~is_search)
    rows = test.take(np.arange(100))
    constraint = RiskConstraint(max_disagreement=0.01)
    line = explain_failure(constraint, search, rows, LABELS)
    assert "of 100 test rows: full depth; 0.01 at 0.95 takes " in line
    assert f" takes {rows_needed(0.01, 0.95):,} test rows" in line
    assert "\n" not in line


@pytest.mark.parametrize("target", [1.0, 1.5, 2.5])
def test_a_target_speedup_is_hit_on_rows_that_it_was_not_chosen_by(calibration, target):
    policy = calibration.policy(target_speedup=target)
    assert policy.saved_compute == pytest.approx(target, rel=0.05)
    assert not policy.is_certified
    assert (policy.target_speedup, policy.max_disagreement) == (target, None)
    assert policy.name == f"target speed-up {target:g}"


def test_a_target_speedup_is_aimed_at_without_the_test_rows(calibration):
    is_search = calibration.is_search[:, None]
    unsure = np.where(is_search, calibration.uncertainty, np.float32(0.9))
    other = replace(calibration, uncertainty=unsure)
    given, found = (each.policy(target_speedup=2.0) for each in (calibration, other))
    assert found.thresholds == given.thresholds
    assert found.saved_compute < given.saved_compute


def test_the_risk_of_a_target_speedup_is_told_too(calibration):
    policy = calibration.policy(target_speedup=2.5, confidence=0.8)
    disagrees = disagreements(calibration, policy.thresholds)
    count = int(disagrees.sum())
    assert policy.risk == RiskEstimate(
        num_rows=len(disagrees),
        num_disagreements=count,
        upper_bound=upper_bound(count, len(disagrees), 0.8),
        per_name=(),
        confidence=0.8,
    )
    assert count > 0


def test_the_curve_is_found_on_rows_that_thresholds_were_not_set_by(calibration):
    curve = calibration.speed_curve((1.5, 2.0, 100.0))
    assert [asked for asked, _ in curve] == [1.5, 2.0]
    for asked, found in curve:
        assert found == pytest.approx(asked, rel=0.05)
    assert highest_saved_compute(calibration.flops_outcomes) < 100


@pytest.mark.parametrize("asked", [{}, {"max_disagreement": 0.1, "target_speedup": 2.0}])
def test_exactly_one_thing_is_asked_for(calibration, asked):
    with pytest.raises(ParameterError, match="give exactly one of"):
        calibration.policy(**asked)


def test_missed_labels_do_not_go_with_a_target(calibration):
    with pytest.raises(ParameterError, match="`max_missed` goes with `max_disagreement`"):
        calibration.policy(target_speedup=2.0, max_missed={"spam": 0.1})


@pytest.mark.parametrize("asked", [{"max_disagreement": 0.02}, {"target_speedup": 2.0}])
def test_a_confidence_of_95_percent_is_no_95(calibration, asked):
    with pytest.raises(ParameterError, match="`confidence` 95 is not at least"):
        calibration.policy(**asked, confidence=95)


@given(st.lists(st.booleans(), max_size=60))
def test_a_third_is_searched_with_held_out_rows_before_others(flags):
    is_held_out = np.array(flags, dtype=np.bool_)
    is_search = search_rows(is_held_out)
    assert is_search[is_held_out].all(), "what training has looked at tests nothing"
    assert is_search.sum() == max(is_held_out.sum(), len(flags) // 3)
    others = is_search[~is_held_out]
    # Of any neighbours as many as of any others: those that stand in the order of hashes are drawn by hash.
    counts = [np.convolve(others, np.ones(width), "valid") for width in range(1, len(others) + 1)]
    assert all(each.max() - each.min() <= 1 for each in counts)


def test_what_training_has_looked_at_changes_no_bound():
    exits = exit_calibration(held_out=0.2)
    held_out = exits.is_held_out
    policy = exits.policy(max_disagreement=0.02)
    assert policy.is_certified
    assert policy.risk.num_rows == 4000 == (~exits.is_search).sum()
    # Even if their answers were all wrong, or all right.
    for wrong in (0, 1):
        teacher = np.where(held_out, (exits.logits[:, 0].argmax(axis=1) + wrong) % 3, teacher_labels(exits))
        changed = replace(exits, teacher_logits=np.eye(3, dtype=np.float32)[teacher]).policy(
            max_disagreement=0.02
        )
        disagrees = disagreements(exits, changed.thresholds)
        assert (changed.risk.num_rows, changed.risk.num_disagreements) == (4000, disagrees.sum())
        assert upper_bound(int(disagrees.sum()), 4000, 0.95) <= 0.02


def test_a_branch_costs_more_time_than_its_flops(calibration):
    slow = replace(calibration, cost=replace(calibration.cost, branch_seconds=0.4))
    np.testing.assert_array_equal(slow.flops_outcomes.branch_cost, calibration.flops_outcomes.branch_cost)
    np.testing.assert_allclose(slow.latency_outcomes.branch_cost, 4 * slow.flops_outcomes.branch_cost)
    np.testing.assert_array_equal(
        slow.latency_outcomes.exit_cost, calibration.flops.to_layers(calibration.num_tokens)
    )


def test_reliability_is_of_the_rows_that_scalings_were_not_fitted_on(calibration):
    exits = calibration.reliability()
    assert [each.exit_layer for each in exits] == [1, 2, 3, 4]
    assert [each.scaling.temperature for each in exits] == [1.5, 1.0, 0.9, 1.0]
    teacher = teacher_labels(calibration)[~calibration.is_search]
    for layer, each in enumerate(exits):
        logits = calibration.logits[~calibration.is_search, layer]
        agrees = logits.argmax(axis=1) == teacher
        assert each.agreement == agrees.mean()
        odds = np.exp(logits.astype(np.float64) / each.scaling.temperature)
        shares = (odds / odds.sum(axis=1, keepdims=True)).max(axis=1)
        assert each.ece_after == pytest.approx(expected_calibration_error(shares, agrees), abs=2e-3)
    assert exits[1].ece_before == exits[1].ece_after


# -- with a lexical branch ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lexical():
    return exit_calibration(lexical=True)


def test_the_certificate_covers_exit_0_and_the_layers_together(lexical):
    policy = lexical.policy(max_disagreement=0.05)
    assert policy.is_certified
    assert policy.lexical_threshold > 0
    assert (policy.lexical_scaling, policy.scalings) == (
        Scaling.by(2.0),
        tuple(map(Scaling.by, (1.5, 1.0, 0.9))),
    )
    assert len(policy.thresholds) == LAYERS - 1
    disagrees = disagreements(lexical, (policy.lexical_threshold, *policy.thresholds))
    assert policy.risk.num_disagreements == disagrees.sum()


def test_exit_0_pays(lexical, calibration):
    asked = {"max_disagreement": 0.05}
    assert lexical.policy(**asked).saved_compute > 1.05 * calibration.policy(**asked).saved_compute


def test_an_exit_0_that_costs_more_than_it_saves_is_left_out(lexical, calibration):
    dear = replace(lexical, cost=replace(lexical.cost, lexical_seconds=1e6))
    policy = dear.policy(max_disagreement=0.05)
    assert policy.lexical_threshold == 0
    assert policy.saved_compute > 1.5


def test_the_time_of_the_lexical_branch_is_its_own(lexical):
    flops, seconds = lexical.flops_outcomes.branch_cost, lexical.latency_outcomes.branch_cost
    np.testing.assert_allclose(seconds[:, 0], 8 * flops[:, 0])
    np.testing.assert_allclose(seconds[:, 1:], flops[:, 1:])
    np.testing.assert_array_equal(flops[:, 0], 9 * lexical.num_tokens + 5)
    assert (lexical.flops_outcomes.exit_cost[:, 0] == 0).all()


def test_reliability_is_told_of_exit_0_too(lexical):
    assert [each.exit_layer for each in lexical.reliability()] == [0, 1, 2, 3, 4]
    assert [each.scaling.temperature for each in lexical.reliability()] == [2.0, 1.5, 1.0, 0.9, 1.0]


def test_a_speed_up_beyond_the_layers_is_within_reach(lexical, calibration):
    beyond = 2 * highest_saved_compute(calibration.flops_outcomes)
    policy = lexical.policy(target_speedup=beyond)
    assert policy.lexical_threshold > 0
    assert policy.saved_compute == pytest.approx(beyond, rel=0.1)
    with pytest.raises(ParameterError, match="out of reach: leaving at the first exit always"):
        calibration.policy(target_speedup=beyond)
