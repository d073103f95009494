import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sampling.hash_sampling import HashStream, in_hash_sample, text_hashes

texts = st.text(st.characters(codec="utf-8"), max_size=6)
shares = st.floats(0, 1)
MANY = text_hashes([f"text {number}" for number in range(20_000)])


@given(st.lists(st.tuples(texts, texts), unique=True))
def test_different_pairs_have_different_hashes(pairs: list[tuple[str, str]]):
    hashes = text_hashes([first for first, _ in pairs], [second for _, second in pairs])
    assert len(set(hashes)) == len(pairs)
    assert all(len(digest) == 16 for digest in hashes)


def test_where_a_pair_is_cut_matters():
    assert len(set(text_hashes(["ab", "a", "", "abc"], ["c", "bc", "abc", ""]))) == 4


def test_a_text_is_in_the_same_part_of_every_corpus_for_ever():
    one, two = text_hashes(["a text", "é"])
    assert (one.hex(), two.hex()) == ("706860d9e8c7ee1c65261bc1e5b75631", "d4b1b0202b21bb84e60a3d272ecab0db")
    assert text_hashes(["a"], ["b"])[0].hex() == "0e81098517bc44e4e765a65e743c0ef7"


@given(st.lists(texts), shares, shares, st.sampled_from(HashStream))
def test_a_larger_share_holds_the_smaller_one(rows: list[str], one: float, two: float, draw: HashStream):
    hashes = text_hashes(rows)
    few, many = sorted((one, two))
    assert not (in_hash_sample(hashes, few, draw) & ~in_hash_sample(hashes, many, draw)).any()
    assert not in_hash_sample(hashes, 0, draw).any()
    assert in_hash_sample(hashes, 1, draw).all()
    assert len(in_hash_sample(hashes, one, draw)) == len(rows)


@pytest.mark.parametrize("draw", HashStream)
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5])
def test_the_share_is_what_was_asked_for(draw: HashStream, share: float):
    deviation = (share * (1 - share) / len(MANY)) ** 0.5
    assert abs(in_hash_sample(MANY, share, draw).mean() - share) < 4 * deviation


def test_draws_are_independent():
    one, two, three = (in_hash_sample(MANY, 0.5, draw) for draw in HashStream)
    assert all(abs(np.mean(a & b) - 0.25) < 0.02 for a, b in ((one, two), (one, three), (two, three)))
