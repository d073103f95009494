import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tokens.ngram_table import (
    MAX_SLOT_BITS,
    MIN_SLOT_BITS,
    NgramTable,
    ngrams_for,
    slot_bits_for,
    slots_of,
)

SLOT_BITS = st.integers(MIN_SLOT_BITS, 12)
HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=60).map(
    lambda values: np.array(values, dtype=np.uint64)
)


@given(SLOT_BITS, HASHES, HASHES)
def test_known_are_those_of_a_taken_slot_numbered_in_the_order_of_the_slots(slot_bits, known, asked):
    slots = slots_of(known, slot_bits)
    table = NgramTable.of_slots(slots, slot_bits=slot_bits)
    numbers = {slot: number for number, slot in enumerate(sorted(set(slots.tolist())))}
    assert (len(table), table.slot_bits) == (len(numbers), slot_bits)
    both = np.concatenate([known, asked])
    expected = [numbers.get(slot) for slot in slots_of(both, slot_bits).tolist()]
    found, is_known = table.find(both)
    assert is_known.tolist() == [number is not None for number in expected]
    assert found.tolist() == [number for number in expected if number is not None]
    assert found.dtype == np.int64


@given(SLOT_BITS, HASHES)
def test_the_words_are_all_of_a_table(slot_bits, known):
    table = NgramTable.of_slots(slots_of(known, slot_bits), slot_bits=slot_bits)
    again = NgramTable(table.words.copy())
    np.testing.assert_array_equal(again.find(known)[0], table.find(known)[0])
    assert again.slot_bits == slot_bits


@given(HASHES, st.integers(1, 20))
def test_of_fewer_slots_one_takes_the_place_of_neighbours(hashes, fewer):
    np.testing.assert_array_equal(
        slots_of(hashes, MAX_SLOT_BITS) >> fewer, slots_of(hashes, MAX_SLOT_BITS - fewer)
    )


@pytest.mark.parametrize("num_ngrams", [1, 4, 5, 1000, 262_144, 262_145])
def test_a_table_is_large_enough_and_no_larger(num_ngrams):
    slot_bits = slot_bits_for(num_ngrams)
    assert ngrams_for(slot_bits) >= num_ngrams
    assert slot_bits == MIN_SLOT_BITS or ngrams_for(slot_bits - 1) < num_ngrams


def test_there_is_an_end_to_tables():
    assert slot_bits_for(10**12) == MAX_SLOT_BITS
