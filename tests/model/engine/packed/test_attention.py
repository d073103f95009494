"""Attention over packed texts against the formula, a text at a time in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.engine.packed import attention
from model.engine.packed.attention import attend, attend_first, no_bias
from model.tokens.packing import micro_batches

HEADS, SIZE = 2, 4
LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=12).map(
    lambda lengths: np.array(sorted(lengths, reverse=True), dtype=np.int64)
)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 5e-2}


def projected(lengths, dtype=torch.float32, scale=1.0):
    generator = torch.Generator().manual_seed(int(lengths.sum()))
    tokens = int(lengths.sum())
    return (scale * torch.randn(tokens, 3, HEADS, SIZE, generator=generator)).to(dtype)


def by_hand(states, lengths, bias=no_bias):
    """(tokens, heads * size) in float64."""
    texts = []
    for text in states.double().split(lengths.tolist()):
        query, key, value = text.permute(1, 2, 0, 3)
        scores = query @ key.transpose(1, 2) * np.log(2)
        added = bias(len(text))
        scores = scores if added is None else scores + added.double()
        texts.append((scores.softmax(-1) @ value).transpose(0, 1).flatten(1))
    return torch.cat(texts)


BIASES = torch.randn(HEADS, 300, 300, generator=torch.Generator().manual_seed(0))


def some_bias(length):
    return BIASES[:, :length, :length]


def whole(lengths):
    (batch,) = micro_batches(lengths, int(lengths[0]) * len(lengths))
    return batch


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [no_bias, some_bias])
@settings(max_examples=40)
@given(lengths=LENGTHS)
def test_every_token_sees_its_own_text_only(dtype, bias, lengths):
    states = projected(lengths, dtype)
    found = attend(states, whole(lengths), bias)
    assert found.dtype is dtype
    expected = by_hand(states, lengths, bias)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [no_bias, some_bias])
@settings(max_examples=40)
@given(lengths=LENGTHS)
def test_one_query_a_text_is_the_first_of_all(dtype, bias, lengths):
    states, batch = projected(lengths, dtype), whole(lengths)
    first = batch.first_tokens(states.device)
    found = attend_first(states[first, 0], states[:, 1:], batch, bias)
    assert found.dtype is dtype
    expected = by_hand(states, lengths, bias)[first]
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [no_bias, some_bias])
@pytest.mark.parametrize("length", [15, 16, 255, 256, 257])
def test_the_form_for_each_length_gives_the_same(dtype, bias, length):
    lengths = np.array([length, length, length - 1])
    states = projected(lengths, dtype)
    found = attend(states, whole(lengths), bias)
    expected = by_hand(states, lengths, bias)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("bias", [no_bias, some_bias])
@pytest.mark.parametrize("tokens", [0, 1, 40, 10_000])
@given(lengths=LENGTHS)
def test_which_texts_are_padded_to_one_length_changes_nothing(tokens, bias, lengths):
    states, batch = projected(lengths), whole(lengths)
    first = batch.first_tokens(states.device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(attention._MAX_BUCKET_PADDING, torch.float32, tokens)
        found = attend(states, batch, bias)
        one = attend_first(states[first, 0], states[:, 1:], batch, bias)
    expected = by_hand(states, lengths, bias)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(one.double(), expected[first], rtol=0, atol=1e-5)


@pytest.mark.parametrize("scores", [1, 50, 400, 1 << 19])
@pytest.mark.parametrize("bias", [no_bias, some_bias])
def test_how_many_scores_are_held_at_once_changes_nothing(monkeypatch, scores, bias):
    monkeypatch.setattr(attention, "_MAX_SCORES_IN_CACHE", scores)
    lengths = np.array([20] * 5 + [7] * 3)
    states = projected(lengths)
    found = attend(states, whole(lengths), bias)
    torch.testing.assert_close(found.double(), by_hand(states, lengths, bias), rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [5, 40, 120])
def test_huge_scores_overflow_nothing(length):
    lengths = np.array([length, length])
    states = projected(lengths, scale=100.0)
    found = attend(states, whole(lengths))
    torch.testing.assert_close(found.double(), by_hand(states, lengths), rtol=1e-4, atol=1e-3)


def reference_varlen(query, key, value, cu_query, cu_key, max_query, max_key, *, scale):
    """What torch's operator for a GPU is documented to compute."""
    assert cu_query.dtype == cu_key.dtype == torch.int32
    lengths = cu_key.diff()
    assert max_key == lengths.max()
    assert max_query == cu_query.diff().max()
    texts = []
    for text in range(len(lengths)):
        own = query[cu_query[text] : cu_query[text + 1]].transpose(0, 1)
        keys, values = (each[cu_key[text] : cu_key[text + 1]].transpose(0, 1) for each in (key, value))
        texts.append(((own @ keys.transpose(1, 2) * scale).softmax(-1) @ values).transpose(0, 1))
    return torch.cat(texts)


@given(lengths=LENGTHS)
def test_a_gpus_operator_is_asked_for_the_same(lengths):
    states, batch = projected(lengths), whole(lengths)
    first = batch.first_tokens(states.device)
    query, key, value = states.unbind(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "varlen_attn", reference_varlen)
        found = attention._attend_varlen(query, key, value, batch, batch).flatten(1)
        one = attention._attend_varlen(query[first], key, value, None, batch).flatten(1)
    expected = by_hand(states, lengths)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(one.double(), expected[first], rtol=0, atol=1e-5)
