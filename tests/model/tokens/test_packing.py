import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.tokens.packing import balanced_token_budget, micro_batches

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
    assert [row for batch in batches for row in range(batch.text_slice.start, batch.text_slice.stop)] == list(
        range(len(lengths))
    )
    token = 0
    for batch in batches:
        np.testing.assert_array_equal(batch.lengths, lengths[batch.text_slice])
        assert (batch.token_slice.start, batch.token_slice.stop) == (token, token + batch.lengths.sum())
        token = batch.token_slice.stop
        assert batch.max_seqlen == batch.lengths.max()
        assert batch.num_real_tokens == batch.lengths.sum()
        assert batch.num_padded_tokens == batch.max_seqlen * len(batch.lengths)
        assert batch.num_padded_tokens <= token_budget or len(batch.lengths) == 1
        # Full: another row would not have fitted.
        is_last = batch.text_slice.stop == len(lengths)
        assert is_last or batch.num_padded_tokens + batch.max_seqlen > token_budget


@given(LENGTHS.filter(len), st.integers(1, 200), st.sampled_from([(), (3,)]))
def test_pad_puts_each_text_in_its_row_and_unpad_packs_it_again(lengths, token_budget, shape):
    packed = packed_tokens(lengths, *shape)
    for batch in micro_batches(lengths, token_budget):
        own = packed[batch.token_slice]
        padded = batch.pad(own)
        assert padded.shape == (len(batch.lengths), batch.max_seqlen, *shape)
        for row, text in zip(padded, own.split(batch.lengths.tolist()), strict=True):
            torch.testing.assert_close(row[: len(text)], text, rtol=0, atol=0)
            # Behind it stands its own last token: no other text's, and no number out of nowhere.
            assert (row[len(text) :] == text[-1]).all()
        torch.testing.assert_close(batch.unpad(padded), own, rtol=0, atol=0)


@given(LENGTHS.filter(len), st.integers(1, 200), st.integers(0, 60))
def test_groups_are_all_texts_in_order_and_pad_little(lengths, token_budget, max_padding):
    packed = packed_tokens(lengths)
    for batch in micro_batches(lengths, token_budget):
        own, groups = packed[batch.token_slice], batch.length_buckets(max_padding)
        texts = [
            text
            for group in groups
            for text in own[group.token_slice].split(batch.lengths[group.text_slice].tolist())
        ]
        for found, expected in zip(texts, own.split(batch.lengths.tolist()), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
        for group in groups:
            np.testing.assert_array_equal(group.lengths, batch.lengths[group.text_slice])
            assert group.num_padded_tokens - group.num_real_tokens <= max_padding
        # Full: the texts of the next length would not have fitted.
        for group, following in itertools.pairwise(groups):
            more = batch.lengths[group.text_slice.start : following.text_slice.start]
            more = np.append(more, following.lengths[following.lengths == following.max_seqlen])
            assert (group.max_seqlen - more).sum() > max_padding


@given(LENGTHS.filter(len), st.integers(1, 200))
def test_first_tokens_are_the_texts_first(lengths, token_budget):
    packed = packed_tokens(lengths)
    for batch in micro_batches(lengths, token_budget):
        own = packed[batch.token_slice]
        expected = [float(text[0]) for text in own.split(batch.lengths.tolist())]
        assert own[batch.first_tokens(CPU)].tolist() == expected


@given(LENGTHS.filter(lambda lengths: len(lengths) > 1))
def test_halves_are_micro_batches_of_the_first_and_the_other_texts(lengths):
    batch = list(micro_batches(lengths, 100))[-1]
    if len(batch.lengths) == 1:
        return
    first, second = batch.halves()
    assert (first.text_slice.start, first.text_slice.stop) == (
        batch.text_slice.start,
        second.text_slice.start,
    )
    assert (first.token_slice.start, first.token_slice.stop) == (
        batch.token_slice.start,
        second.token_slice.start,
    )
    assert (second.text_slice.stop, second.token_slice.stop) == (
        batch.text_slice.stop,
        batch.token_slice.stop,
    )
    for half in (first, second):
        assert len(half.lengths) >= len(batch.lengths) // 2
        assert half.num_real_tokens == half.lengths.sum()


@given(LENGTHS.filter(len), st.integers(1, 200))
def test_token_types_are_cut_and_padded_with_the_texts(lengths, token_budget):
    types = np.arange(lengths.sum(), dtype=np.int32)
    for batch in micro_batches(lengths, token_budget, types):
        assert batch.token_types.tolist() == types[batch.token_slice].tolist()
        padded = batch.padded_token_types(CPU)
        assert (padded.shape, padded.dtype) == ((len(batch.lengths), batch.max_seqlen), torch.int64)
        assert batch.unpad(padded).tolist() == batch.token_types.tolist()
        halves = batch.halves() if len(batch.lengths) > 1 else ()
        for half in halves:
            assert half.token_types.tolist() == types[half.token_slice].tolist()


def test_where_no_layer_looks_at_token_types_there_are_none():
    (batch,) = micro_batches(np.array([3, 2]), 100)
    assert batch.padded_token_types(CPU) is None
    assert [half.token_types for half in batch.halves()] == [None, None]


@given(LENGTHS.filter(len))
def test_padding_is_true_at_real_tokens_and_none_where_all_are(lengths):
    (batch,) = micro_batches(lengths, int(lengths[0]) * len(lengths))
    attention_mask = batch.attention_mask(CPU)
    if (lengths == lengths[0]).all():
        assert attention_mask is None
        assert not batch.is_padded
    else:
        assert batch.is_padded
        assert attention_mask.sum(1).tolist() == lengths.tolist()
        assert not (attention_mask[:, 1:] & ~attention_mask[:, :-1]).any()  # all at the front


@given(st.integers(1, 100_000), st.integers(4, 2000))
def test_an_even_budget_parts_tokens_among_cores(num_tokens, token_budget):
    even = balanced_token_budget(num_tokens, token_budget)
    assert token_budget // 4 <= even <= token_budget
    count = -(-num_tokens // even)
    # As many as the cores of a small machine, or so few that more would be too small.
    assert count % 4 == 0 or count < 4 or even * count - num_tokens < count


def test_no_texts_are_no_batches():
    assert list(micro_batches(np.zeros(0, dtype=np.int64), 10)) == []
