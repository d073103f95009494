import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.guarantee.binomial import p_value, upper_bound
from model.guarantee.promise_check import CONTRADICTION_P, Finding, PartCheck, check_part, overall

COUNTS = st.integers(0, 3000).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(0, rows)))


def check(num_wrong: int, num_texts: int, share: float = 0.01, num_parts: int = 1) -> PartCheck:
    return check_part(
        "", share=share, num_texts=num_texts, num_wrong=num_wrong, confidence=0.95, num_parts=num_parts
    )


@given(COUNTS, st.sampled_from([0.001, 0.01, 0.2]), st.integers(1, 3))
def test_each_finding_is_what_it_says(counts: tuple[int, int], share: float, num_parts: int):
    num_texts, num_wrong = counts
    found = check(num_wrong, num_texts, share, num_parts)
    unlikely = num_wrong > 0 and 1 - p_value(num_wrong - 1, num_texts, share) < CONTRADICTION_P / num_parts
    shown = num_texts > 0 and upper_bound(num_wrong, num_texts, 0.95) <= share
    assert not (unlikely and shown)
    expected = Finding.CONTRADICTED if unlikely else Finding.STANDS if shown else Finding.UNTOLD
    assert found.finding is expected
    assert found.low <= (num_wrong / num_texts if num_texts else 0.5) <= found.high


@given(COUNTS)
def test_as_many_texts_as_it_says_would_show_it(counts: tuple[int, int]):
    num_texts, num_wrong = counts
    found = check(num_wrong, num_texts)
    if found.texts_needed is None:
        return
    assert found.texts_needed >= 299
    expected = int(num_wrong / max(num_texts, 1) * found.texts_needed)
    assert check(expected, found.texts_needed).finding is Finding.STANDS


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ((0, 0), Finding.STANDS),
        ((0, 100), Finding.CONTRADICTED),
        ((0, 9), Finding.UNTOLD),
        ((9, 100), Finding.CONTRADICTED),
    ],
)
def test_a_promise_stands_where_all_of_it_does(wrong: tuple[int, int], expected: Finding):
    assert overall(tuple(check(each, 1000) for each in wrong)) is expected
    assert overall(()) is Finding.NO_PROMISE
