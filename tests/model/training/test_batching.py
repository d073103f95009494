import math
from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from model.checks import MAX_SEED
from model.training.batching import bucketed_batches, step_seed


def test_no_two_steps_of_a_run_share_a_seed_and_the_largest_is_one():
    seeds = [step_seed(seed, n) for seed in (0, 1, MAX_SEED) for n in range(1000)]
    assert len(set(seeds)) == len(seeds)
    for seed in seeds:
        torch.Generator().manual_seed(seed)


def batches_of(lengths, batch_size, *, seed=0, buckets=50):
    generator = torch.Generator().manual_seed(seed)
    return list(bucketed_batches(torch.tensor(lengths), batch_size, generator=generator, buckets=buckets))


LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=200)


@given(LENGTHS, st.integers(1, 20), st.integers(1, 10))
def test_every_row_is_in_one_batch(lengths, batch_size, buckets):
    batches = batches_of(lengths, batch_size, buckets=buckets)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert len(batches) == math.ceil(len(lengths) / batch_size)
    assert sorted(map(len, batches))[1:] == [batch_size] * (len(batches) - 1)
    for batch in batches:
        within = [lengths[row] for row in batch]
        assert within == sorted(within, reverse=True)


@given(LENGTHS, st.integers(1, 20), st.integers(0, 5))
def test_batches_are_seeded(lengths, batch_size, seed):
    assert batches_of(lengths, batch_size, seed=seed) == batches_of(lengths, batch_size, seed=seed)


def test_seeds_give_different_batches_in_no_order_of_length():
    lengths = list(range(1, 101))
    first, second = batches_of(lengths, 10, seed=0), batches_of(lengths, 10, seed=1)
    assert first != second
    longest = [lengths[batch[0]] for batch in first]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


def test_batches_of_one_run_do_not_overlap_in_length():
    lengths = list(range(1, 101))
    spans = sorted((lengths[batch[-1]], lengths[batch[0]]) for batch in batches_of(lengths, 10))
    assert all(end < start for (_, end), (start, _) in pairwise(spans))


def test_rows_meet_different_neighbours_under_another_seed():
    lengths = list(range(1, 201))
    members = [
        {frozenset(batch) for batch in batches_of(lengths, 5, seed=seed, buckets=10)} for seed in range(2)
    ]
    assert not members[0] & members[1]
