import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.tokens.growing_array import GrowingArray


@given(st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9000), max_size=5))
def test_it_holds_all_that_was_added(parts):
    array = GrowingArray(np.int32)
    for part in parts:
        array.extend(np.array(part, dtype=np.int32))
    expected = [value for part in parts for value in part]
    assert len(array) == len(expected)
    assert array.values.tolist() == expected
    assert array.values.dtype == np.int32
