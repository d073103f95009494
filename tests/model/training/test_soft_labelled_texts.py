from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.engine.execution import Precision, resolve_execution
from model.errors import InputError
from model.exits.teacher import Teacher
from model.training.soft_labelled_texts import (
    SoftLabelledTexts,
    SoftLabelSource,
    concatenate,
    token_windows,
)


def numbered(num_rows: int, *, first: int = 0, with_pairs: bool = False) -> SoftLabelledTexts:
    """Rows whose every column tells which row they are."""
    numbers = range(first, first + num_rows)
    return SoftLabelledTexts(
        texts=[f"text {number}" for number in numbers],
        text_pairs=[f"pair {number}" for number in numbers] if with_pairs else None,
        logits=np.array([[n, -n] for n in numbers], dtype=np.float32).reshape(-1, 2),
        num_tokens=np.array([n % 7 + 2 for n in numbers], dtype=np.int64),
    )


def assert_whole(rows: SoftLabelledTexts) -> None:
    """Every row's columns belong together."""
    numbers = [int(text.removeprefix("text ")) for text in rows.texts]
    assert rows.logits.tolist() == [[n, -n] for n in numbers]
    assert rows.num_tokens.tolist() == [n % 7 + 2 for n in numbers]
    if rows.text_pairs is not None:
        assert rows.text_pairs == [f"pair {n}" for n in numbers]


@pytest.mark.parametrize("with_pairs", [False, True])
def test_rows_are_taken_and_put_together_with_all_that_is_theirs(with_pairs):
    first, second = numbered(5, with_pairs=with_pairs), numbered(4, first=5, with_pairs=with_pairs)
    rows = concatenate([first.take([4, 0]), second.take([]), second.take([2])])
    assert rows.texts == ["text 4", "text 0", "text 7"]
    assert (rows.text_pairs is not None) == with_pairs
    assert_whole(rows)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 3))
def test_every_row_is_in_one_batch_of_an_epoch(num_rows, batch_size, epoch):
    source: SoftLabelSource = numbered(num_rows)
    batches = list(source.batches(epoch, batch_size=batch_size, seed=0))
    assert sorted(text for batch in batches for text in batch.texts) == sorted(numbered(num_rows).texts)
    assert len(batches) == source.steps_per_epoch(batch_size)
    assert all(len(batch) <= batch_size for batch in batches)
    for batch in batches:
        assert_whole(batch)
        assert sorted(batch.num_tokens, reverse=True) == batch.num_tokens.tolist()


def test_seed_and_epoch_decide_the_order():
    def order(epoch, seed):
        return [batch.texts for batch in numbered(40).batches(epoch, batch_size=4, seed=seed)]

    assert order(0, 1) == order(0, 1)
    assert len({str(order(epoch, seed)) for epoch in (0, 1) for seed in (0, 1)}) == 4


@pytest.mark.parametrize("column", ["text_pairs", "logits", "num_tokens"])
def test_columns_of_other_lengths_are_refused(column):
    rows = numbered(3, with_pairs=True)
    columns = {name: getattr(rows, name) for name in ("texts", "text_pairs", "logits", "num_tokens")}
    with pytest.raises(InputError, match=f"`{column}` has 2 rows, but there are 3 texts"):
        SoftLabelledTexts(**{**columns, column: columns[column][:2]})


def test_a_teacher_labels_texts(make_classifier, tokenizer_of, texts, hugging_face_logits):
    model, tokenizer = make_classifier("bert"), tokenizer_of("bert")
    teacher = Teacher.of(model, tokenizer, resolve_execution(Precision.FP32, device="cpu"))
    pairs = texts[::-1]
    labels = SoftLabelledTexts.from_teacher(teacher, texts, pairs, max_length=30)
    assert (labels.texts, labels.text_pairs) == (list(texts), list(pairs))
    expected = hugging_face_logits(model, tokenizer, texts, pairs, max_length=30)
    np.testing.assert_allclose(labels.logits, expected, atol=1e-5)
    assert labels.num_tokens.max() == 30
    single = SoftLabelledTexts.from_teacher(teacher, texts, max_length=30)
    assert single.text_pairs is None
    assert (single.num_tokens < labels.num_tokens).any()


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), max_size=12), st.integers(1, 40))
def test_windows_are_as_long_as_their_tokens_allow(lengths, max_tokens):
    batches = [
        SoftLabelledTexts(
            texts=["x"] * len(tokens),
            text_pairs=None,
            logits=np.zeros((len(tokens), 2), dtype=np.float32),
            num_tokens=np.array(tokens),
        )
        for tokens in lengths
    ]
    windows = list(token_windows(batches, max_tokens))
    assert [batch for window in windows for batch in window] == batches
    sizes = [[int(batch.num_tokens.sum()) for batch in window] for window in windows]
    assert all(sum(window) <= max_tokens or len(window) == 1 for window in sizes)
    assert all(sum(window) + following[0] > max_tokens for window, following in pairwise(sizes))
