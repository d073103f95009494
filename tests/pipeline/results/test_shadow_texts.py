import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.results import shadow_texts
from pipeline.results.shadow_texts import ShadowRows, ShadowTexts, ShadowTextsBuilder
from pipeline.sampling.hash_sampling import text_hashes

HASHES = text_hashes([f"text {number}" for number in range(40)])
ROWS = st.lists(st.tuples(st.integers(0, 39), st.booleans()), max_size=200)


def built(rows: list[tuple[int, bool]], *, at_once: int = 7, one_of_each: bool = False) -> ShadowTexts:
    """Rows of texts by number; full depth gives text n label n % 3, and it stands at place n."""
    builder = ShadowTextsBuilder(3, one_of_each=one_of_each)
    for first in range(0, len(rows), at_once):
        part = rows[first : first + at_once]
        texts, others = [text for text, _ in part], [is_other for _, is_other in part]
        hashes = [HASHES[text] for text in texts]
        # Of a group, four neighbours.
        units = [HASHES[text // 4] for text in texts] if one_of_each else hashes
        by_teacher, others = np.eye(3, dtype=bool)[[text % 3 for text in texts]], np.array(others, dtype=bool)
        # Another answer is the next label.
        called = np.where(others[:, None], np.roll(by_teacher, 1, axis=1), by_teacher)
        zeros = np.zeros(len(part), dtype=np.int64)
        rows_here = ShadowRows(
            exit_layer=np.array([text % 5 for text in texts], dtype=np.int64), uncertainty=zeros * 0.0,
            first_uncertainty=np.array(texts, dtype=np.float64),
            num_tokens=np.array(texts, dtype=np.int64), num_unknown=zeros,
            by_teacher=by_teacher, called=called, missed=by_teacher & ~called, disagrees=others,
        )  # fmt: skip
        builder.add(units, hashes, rows_here)
    return builder.build()


@given(ROWS)
def test_each_text_counts_once_however_often_it_comes(rows: list[tuple[int, bool]]):
    found = built(rows)
    texts = {text for text, _ in rows}
    others = {text for text, is_other in rows if is_other}
    for counts, expected in ((found.by_teacher, texts), (found.missed, others)):
        by_label = Counter(text % 3 for text in expected)
        assert counts.tolist() == [by_label[label] for label in range(3)]
    assert (found.num_texts, found.num_disagreements) == (len(texts), len(others))


@given(ROWS, st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[int, bool]], draw):
    shuffled = draw.sample(rows, len(rows))
    one, other = built(rows), built(shuffled, at_once=3)
    assert one.called.tolist() == other.called.tolist()
    assert one.false.tolist() == other.false.tolist()
    assert one.rows.num_tokens.tolist() == other.rows.num_tokens.tolist()
    assert one.rows.exit_layer.tolist() == (one.rows.num_tokens % 5).tolist()


@pytest.mark.parametrize("at_once", [1, 5, 400])
def test_of_a_large_sample_the_same_part_is_kept_whatever_the_order(monkeypatch, at_once: int):
    monkeypatch.setattr(shadow_texts, "_KEPT", 10)
    rows = [(text, text % 4 == 0) for text in range(40)] * 10
    kept = sorted(range(40), key=lambda text: HASHES[text][::-1])[:10]
    for given_rows in (rows, rows[::-1]):
        found = built(given_rows, at_once=at_once)
        assert found.num_texts == 10
        assert found.num_disagreements == sum(text % 4 == 0 for text in kept)


@given(st.dictionaries(st.integers(0, 39), st.booleans()), st.randoms())
def test_of_a_group_one_text_speaks_whatever_the_order(others: dict[int, bool], draw):
    rows = draw.sample(list(others.items()), len(others))
    found = built(rows, at_once=draw.randint(1, 9), one_of_each=True)
    speakers = [
        min((text for text in others if text // 4 == group), key=HASHES.__getitem__)
        for group in {text // 4 for text in others}
    ]
    assert found.num_texts == len(speakers)
    assert found.num_disagreements == sum(others[text] for text in speakers)
    assert found.by_teacher.tolist() == [sum(text % 3 == label for text in speakers) for label in range(3)]


def test_a_text_that_is_kept_keeps_no_others():
    builder = ShadowTextsBuilder(3)
    many = np.zeros((5000, 3), dtype=bool)
    numbers = np.zeros(5000, dtype=np.int64)
    rows = ShadowRows(
        exit_layer=numbers, uncertainty=numbers * 0.0, first_uncertainty=numbers * 0.0, num_tokens=numbers,
        num_unknown=numbers, by_teacher=many, called=many, missed=many, disagrees=many[:, 0],
    )  # fmt: skip
    before = sys.getrefcount(many)
    builder.add([HASHES[0]] * 5000, [HASHES[0]] * 5000, rows)
    assert sys.getrefcount(many) == before
