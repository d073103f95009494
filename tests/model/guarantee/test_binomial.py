import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from model.guarantee.binomial import p_value, rows_needed, upper_bound

COUNTS = st.integers(1, 3000).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows)))
SHARES = st.floats(0.001, 0.5)
# Two routines of SciPy: far out in the tail they differ a little, and further out one is cut off.
FAR_OUT = 1e-100
CONFIDENCES = st.sampled_from([0.5, 0.9, 0.95, 0.99])


@given(COUNTS, SHARES)
def test_a_p_value_is_the_binomial_tail(counts, share):
    assert p_value(*counts, share) == pytest.approx(binom.cdf(*counts, share), rel=1e-6, abs=FAR_OUT)


def test_of_no_rows_nothing_is_known():
    assert p_value(0, 0, 0.01) == 1
    assert upper_bound(0, 0, 0.95) == 1


def test_299_rows_without_an_error_show_1_percent_at_95_percent_and_298_do_not():
    assert p_value(0, 299, 0.01) <= 0.05 < p_value(0, 298, 0.01)
    assert upper_bound(0, 299, 0.95) <= 0.01 < upper_bound(0, 298, 0.95)
    assert rows_needed(0.01, 0.95) == 299


@pytest.mark.parametrize(("rows", "errors"), [(500, 1), (1000, 4), (2000, 12), (5000, 38), (10_000, 83)])
def test_how_many_errors_1_percent_at_95_percent_allows(rows, errors):
    assert p_value(errors, rows, 0.01) <= 0.05 < p_value(errors + 1, rows, 0.01)


@given(COUNTS, CONFIDENCES)
def test_the_bound_is_clopper_and_pearsons(counts, confidence):
    errors, rows = counts
    interval = binomtest(errors, rows, alternative="less").proportion_ci(confidence, method="exact")
    assert upper_bound(errors, rows, confidence) == pytest.approx(interval.high, rel=1e-6)


@given(COUNTS, SHARES, CONFIDENCES)
def test_a_share_is_rejected_exactly_where_the_bound_is_below(counts, share, confidence):
    bound, tail = upper_bound(*counts, confidence), p_value(*counts, share)
    if abs(bound - share) > 1e-9:
        assert (bound <= share) == (tail <= 1 - confidence)


@given(st.floats(0.002, 0.2), CONFIDENCES, st.floats(0, 0.8))
def test_so_many_rows_are_enough(share, confidence, part):
    rate = part * share
    rows = rows_needed(share, confidence, error_rate=rate)
    assert p_value(int(rate * rows), rows, share) <= 1 - confidence


@given(st.floats(0.002, 0.2), CONFIDENCES)
def test_without_errors_one_row_less_is_not_enough(share, confidence):
    # With errors it may be: a row more can be an error more.
    rows = rows_needed(share, confidence)
    assert rows == 1 or p_value(0, rows - 1, share) > 1 - confidence


@given(SHARES, CONFIDENCES, st.floats(1, 2))
def test_no_number_of_rows_shows_what_is_not_so(share, confidence, part):
    assert rows_needed(share, confidence, error_rate=part * share) is None
