from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sampling import shared_passages
from pipeline.sampling.shared_passages import PASSAGE_BYTES, SharedPassages

# Of few letters, some of several bytes, so that short runs are shared often and long ones now and then.
TEXTS = st.lists(
    st.lists(st.sampled_from(["ab", "ä", "中文", " ", "x" * 15, "y" * 25]), max_size=20).map("".join),
    max_size=8,
)


def shared(ours: list[str], others: list[str], *, at_once: int = 3) -> list[int]:
    index = SharedPassages(ours)
    for first in range(0, len(others), at_once):
        index.add(others[first : first + at_once])
    found: list[int] = index.num_shared.tolist()
    return found


def runs(text: str) -> list[bytes]:
    content = " ".join(text.casefold().split()).encode()
    return [content[first : first + PASSAGE_BYTES] for first in range(len(content) - PASSAGE_BYTES + 1)]


@given(ours=TEXTS, others=TEXTS, at_once=st.integers(1, 9), block=st.integers(1, 999))
def test_the_runs_of_bytes_that_stand_in_other_texts_are_counted(
    ours: list[str], others: list[str], at_once: int, block: int
):
    met = {run for text in others for run in runs(text)}
    with mock.patch.object(shared_passages, "_BLOCK", block):
        found = shared(ours, others, at_once=at_once)
    assert found == [sum(run in met for run in runs(text)) for text in ours]
    assert SharedPassages(ours).num_passages.tolist() == [len(runs(text)) for text in ours]


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
    assert (index.num_shared > 0).tolist() == [True, False]


@pytest.mark.parametrize("white", ["  ", "\t", "\n", "\u00a0", "\u3000", " \u2003 ", "\x1f", "\u2028"])
def test_white_space_of_any_kind_is_one_space(white: str):
    passage = "so it was said, and written down, and read aloud again"
    other = passage.replace(" ", white)
    assert shared([other, f"{white}{passage}{white}"], [passage]) == [len(passage) - 39] * 2


def test_what_stands_far_behind_in_a_text_is_not_looked_at():
    passage = "so it was said, and written down, and read aloud again"
    ahead = "".join(map(chr, np.random.default_rng(1).integers(97, 123, 4000)))
    assert shared([f"{ahead[:3900]} {passage}", f"{ahead} {passage}"], [passage]) == [len(passage) - 39, 0]


@pytest.mark.parametrize("texts", [[], [""], ["short"]])
def test_there_may_be_nothing_to_compare(texts: list[str]):
    assert shared(texts, ["long " * 20]) == [0] * len(texts)
    assert shared(["long " * 20], texts) == [0]


def test_of_many_texts_none_is_marked_by_chance():
    draw = np.random.default_rng(0)
    words = ["".join(map(chr, draw.integers(97, 123, 60))) for _ in range(6000)]
    assert not any(shared(words[:2000], words[2000:], at_once=1000))
