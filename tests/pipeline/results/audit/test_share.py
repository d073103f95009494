import pytest

from model.guarantee.binomial import interval
from pipeline.results.audit.share import Share


@pytest.mark.parametrize(("part", "whole"), [(0, 10), (3, 10), (10, 10)])
def test_a_share_is_told_with_its_exact_interval(part: int, whole: int):
    share = Share.of(part, whole)
    assert (share.low, share.high) == interval(part, whole, 0.95)
    assert share.value == part / whole
    assert str(share) == f"{part / whole:.2%} ({share.low:.2%} to {share.high:.2%})"


def test_of_no_rows_nothing_is_known():
    share = Share.of(0, 0)
    assert (share.value, share.low, share.high, str(share)) == (None, 0.0, 1.0, "unknown")
