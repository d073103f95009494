import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.packing import chunks, keep_rows, micro_batches

LENGTHS = st.lists(st.integers(1, 40), max_size=60).map(
    lambda lengths: np.array(sorted(lengths, reverse=True), dtype=np.int64)
)
CPU = torch.device("cpu")


def packed_tokens(lengths, *shape):
    """Every token a number of its own, from 1."""
    total = int(lengths.sum())
    return torch.arange(1, total + 1).view(-1, *(1 for _ in shape)).expand(total, *shape).float().clone()


@given(LENGTHS, st.integers(1, 200))
def test_micro_batches_are_all_rows_in_order_within_the_budget(lengths, token_budget):
    batches = list(micro_batches(lengths, token_budget))
    assert [row for batch in batches for row in range(batch.rows.start, batch.rows.stop)] == list(
        range(len(lengths))
    )
    token = 0
    for batch in batches:
        np.testing.assert_array_equal(batch.lengths, lengths[batch.rows])
        assert (batch.tokens.start, batch.tokens.stop) == (token, token + batch.lengths.sum())
        token = batch.tokens.stop
        assert batch.width == batch.lengths.max()
        assert batch.num_processed_tokens == batch.width * len(batch.lengths)
        assert batch.num_processed_tokens <= token_budget or len(batch.lengths) == 1
        # Full: another row would not have fitted.
        is_last = batch.rows.stop == len(lengths)
        assert is_last or batch.num_processed_tokens + batch.width > token_budget


@given(LENGTHS, st.integers(1, 200))
def test_chunks_are_all_rows_in_order_within_the_limit(lengths, max_tokens):
    parts = list(chunks(lengths, max_tokens))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(len(lengths)))
    for part in parts:
        tokens = lengths[part].sum()
        assert tokens <= max_tokens or part.stop - part.start == 1
        assert part.stop == len(lengths) or tokens + lengths[part.stop] > max_tokens


@given(LENGTHS, st.integers(1, 200), st.sampled_from([(), (3,)]))
def test_unpad_puts_back_what_pad_took(lengths, token_budget, shape):
    packed = packed_tokens(lengths, *shape)
    copy = torch.zeros_like(packed)
    for batch in micro_batches(lengths, token_budget):
        padding = batch.padding(CPU)
        states = batch.pad(packed, padding, fill=-1)
        assert states.shape == (len(batch.lengths), batch.width, *shape)
        batch.unpad_into(copy, states, padding)
    torch.testing.assert_close(copy, packed, rtol=0, atol=0)


@given(LENGTHS.filter(len), st.integers(1, 200))
def test_pad_puts_each_text_in_its_row_and_fills_the_rest(lengths, token_budget):
    packed = packed_tokens(lengths)
    ends = np.cumsum(lengths)
    for batch in micro_batches(lengths, token_budget):
        states = batch.pad(packed, batch.padding(CPU), fill=-1)
        for row, length in enumerate(batch.lengths.tolist()):
            end = int(ends[batch.rows.start + row])
            assert states[row, :length].tolist() == packed[end - length : end].tolist()
            assert (states[row, length:] == -1).all()


@given(LENGTHS.filter(len))
def test_padding_is_true_at_real_tokens_and_none_where_all_are(lengths):
    (batch,) = micro_batches(lengths, int(lengths[0]) * len(lengths))
    padding = batch.padding(CPU)
    if (lengths == lengths[0]).all():
        assert padding is None
        assert not batch.is_padded
    else:
        assert batch.is_padded
        assert padding.sum(1).tolist() == lengths.tolist()
        assert not (padding[:, 1:] & ~padding[:, :-1]).any()  # all at the front


def test_writing_into_packed_leaves_other_micro_batches_alone():
    lengths = np.array([4, 3, 3, 1])
    packed = packed_tokens(lengths, 2)
    _, second, _ = micro_batches(lengths, 6)
    padding = second.padding(CPU)
    second.unpad_into(packed, second.pad(packed, padding) * 0, padding)
    assert packed[:, 0].tolist() == [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 11]


@given(LENGTHS, st.data())
def test_keep_rows_drops_the_tokens_of_the_others(lengths, data):
    keep = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))), dtype=bool
    )
    packed = packed_tokens(lengths, 2)
    expected = [part for part, kept in zip(packed.split(lengths.tolist()), keep, strict=True) if kept]
    kept = keep_rows(packed, lengths, keep)
    torch.testing.assert_close(kept, torch.cat([*expected, packed[:0]]), rtol=0, atol=0)


@pytest.mark.parametrize("cut", [micro_batches, chunks])
def test_no_texts_are_no_batches(cut):
    assert list(cut(np.zeros(0, dtype=np.int64), 10)) == []
