import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sampling.shared_passages import PASSAGE_BYTES, SharedPassages

# Of few letters, some of several bytes, so that short runs are shared often and long ones now and then.
TEXTS = st.lists(
    st.lists(st.sampled_from(["ab", "ä", "中文", " ", "x" * 15, "y" * 25]), max_size=20).map("".join),
    max_size=8,
)


def shared(ours: list[str], others: list[str], *, at_once: int = 3) -> list[bool]:
    index = SharedPassages(ours)
    for first in range(0, len(others), at_once):
        index.add(others[first : first + at_once])
    found: list[bool] = index.is_shared.tolist()
    return found


def runs(text: str) -> set[bytes]:
    content = " ".join(text.casefold().split()).encode()
    return {content[first : first + PASSAGE_BYTES] for first in range(len(content) - PASSAGE_BYTES + 1)}


@given(ours=TEXTS, others=TEXTS, at_once=st.integers(1, 9))
def test_texts_are_marked_that_share_a_run_of_bytes_and_no_others(
    ours: list[str], others: list[str], at_once: int
):
    met = set[bytes]().union(*map(runs, others))
    assert shared(ours, others, at_once=at_once) == [bool(runs(text) & met) for text in ours]
    assert SharedPassages(ours).is_told.tolist() == [bool(runs(text)) for text in ours]


@given(
    passage=st.text(min_size=PASSAGE_BYTES, max_size=60),
    around=st.tuples(*[st.text(max_size=9)] * 4),
    other=st.text(max_size=99),
)
def test_a_passage_is_found_wherever_it_stands(passage: str, around: tuple[str, ...], other: str):
    passage = f"<{''.join(passage.split())}>" + "." * PASSAGE_BYTES
    ours = [other, f"{around[0]} {passage.upper()} {around[1]}"]
    assert shared(ours, [f"{around[2]}\n{passage.upper()}\t {around[3]}"])[1]


def test_pairs_are_compared_as_a_whole():
    one, two = "the one that comes before", "and the other that stands behind it"
    index = SharedPassages([one, one], [two, "nothing"])
    index.add([f"{one} {two}"])
    assert index.is_shared.tolist() == [True, False]


@pytest.mark.parametrize("texts", [[], [""], ["short"]])
def test_there_may_be_nothing_to_compare(texts: list[str]):
    assert shared(texts, ["long " * 20]) == [False] * len(texts)
    assert shared(["long " * 20], texts) == [False]


def test_of_many_texts_none_is_marked_by_chance():
    draw = np.random.default_rng(0)
    words = ["".join(map(chr, draw.integers(97, 123, 60))) for _ in range(6000)]
    assert not any(shared(words[:2000], words[2000:], at_once=1000))
