import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.tokens.lengths import chunks

LENGTHS = st.lists(st.integers(1, 40), max_size=60).map(lambda lengths: np.array(lengths, dtype=np.int64))


@given(LENGTHS, st.integers(1, 200))
def test_chunks_are_all_rows_in_order_within_the_limit(lengths, max_tokens):
    parts = list(chunks(lengths, max_tokens))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(len(lengths)))
    for part in parts:
        tokens = lengths[part].sum()
        assert tokens <= max_tokens or part.stop - part.start == 1
        assert part.stop == len(lengths) or tokens + lengths[part.stop] > max_tokens


def test_no_texts_are_no_chunks():
    assert list(chunks(np.zeros(0, dtype=np.int64), 10)) == []
