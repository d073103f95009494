"""Texts by their chunks against the tokenizer's own ids, over all of Unicode."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from model.tokens import chunk_ids
from model.tokens.chunk_tokenizer import ChunkTokenizer
from model.tokens.tokenization import tokenize
from tests.model.tokens.tokenizers_of_every_kind import every_kind, word_piece

KINDS = every_kind()
# What tokenizers and normalisers treat in their own ways, beside words that they know.
STRANGE = st.sampled_from(
    [
        "the",
        "fox",
        "it's",
        "12,345",
        "naïve",
        "[SEP]",
        "[sep]",
        "<mask>",
        "</s>",
        "日本",
        "x²",
        "½",
        "¨",
        "ﷺ",
        "▁",
        "_",
        "🙂",
        "👍🏽",
        "``",
        "''",
        "Ⅻ",
        "\n",
        "\t",
        "\x00",
        "",
        "\x85",
        "\xa0",
        "́",
        "ൎ",
        "\u200b",
        "\u2028",
        "\u3000",
    ]
)
WORD = STRANGE | st.text(max_size=4) | st.text("abcdefgh'-.,", min_size=1, max_size=40)
TEXT = st.builds(
    lambda words, space: space.join(words), st.lists(WORD, max_size=7), st.sampled_from([" ", "  ", ""])
)
TEXTS = st.lists(TEXT, min_size=1, max_size=6)
MAX_LENGTH = st.integers(5, 40)


def rows(tokens, values):
    return [each.tolist() for each in np.split(values, np.cumsum(tokens.lengths)[:-1])]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return KINDS[request.param]


@settings(max_examples=150)
@given(TEXTS, MAX_LENGTH)
def test_ids_are_the_tokenizers(tokenizer, texts, max_length):
    tokens = tokenize(tokenizer, texts, max_length=max_length)
    expected = tokenizer(texts, truncation=True, max_length=max_length)
    assert rows(tokens, tokens.input_ids) == expected["input_ids"]
    whole = tokenizer(texts, truncation=False)["input_ids"]
    assert tokens.truncated.tolist() == [len(ids) > max_length for ids in whole]
    if "token_type_ids" in expected:
        assert rows(tokens, tokens.token_type_ids) == expected["token_type_ids"]
    else:
        assert tokens.token_type_ids is None


@settings(max_examples=100)
@given(TEXTS.flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(texts))), MAX_LENGTH)
def test_ids_of_pairs_are_the_tokenizers(tokenizer, both, max_length):
    texts, pairs = both
    tokens = tokenize(tokenizer, texts, pairs, max_length=max_length)
    expected = tokenizer(texts, pairs, truncation=True, max_length=max_length)
    assert rows(tokens, tokens.input_ids) == expected["input_ids"]
    if "token_type_ids" in expected:
        assert rows(tokens, tokens.token_type_ids) == expected["token_type_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_plain_words_are_known_by_their_chunks(kind):
    tokenizer = KINDS[kind]
    chunks = ChunkTokenizer.of(tokenizer)
    texts = ["the quick brown fox", "it's 12,345 naïve cafés!", "x"]
    assert chunks.tokenize(texts, None, max_length=99).is_known.all()
    assert chunks.tokenize(texts, texts, max_length=99).is_known.all()
    assert not chunks.tokenize(texts, texts, max_length=6).is_known[:2].any(), "a pair that must be cut"


def test_what_is_left_to_the_tokenizer():
    chunks = ChunkTokenizer.of(KINDS["bert"])
    left = ["[SEP] fox", "a\tb", "x" * 33, "soft\u00adhyphen", "fox\u3000fox"]
    assert not chunks.tokenize(left, None, max_length=99).is_known.any()


def test_nothing_is_tokenised_twice(monkeypatch):
    tokenizer = word_piece(lowercase=True)
    chunks = ChunkTokenizer.of(tokenizer)
    first = chunks.tokenize(["the quick fox", "a dog"], None, max_length=99)
    monkeypatch.setattr(chunks._known, "_encode", None)
    again = chunks.tokenize(["a dog", "the quick fox"], None, max_length=99)
    assert sorted(again.input_ids.tolist()) == sorted(first.input_ids.tolist())


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_what_is_remembered_is_bounded_and_forgetting_changes_nothing(kind, monkeypatch):
    monkeypatch.setattr(chunk_ids, "_MOST_CHUNKS", 25)
    tokenizer = KINDS[kind]
    chunks = ChunkTokenizer.of(tokenizer)
    for first in range(0, 200, 10):
        texts = [f"word{number} fox {number}" for number in range(first, first + 10)]
        found = chunks.tokenize(texts, None, max_length=99)
        assert found.is_known.all()
        assert found.input_ids.tolist() == [*chain(*tokenizer(texts)["input_ids"])]
        assert len(chunks._known) <= 25


def test_what_was_met_last_is_remembered_longest(monkeypatch):
    monkeypatch.setattr(chunk_ids, "_MOST_CHUNKS", 40)
    tokenizer = word_piece(lowercase=True)
    chunks = ChunkTokenizer.of(tokenizer)
    asked: list[str] = []
    encode = chunks._known._encode
    monkeypatch.setattr(chunks._known, "_encode", lambda texts: asked.extend(texts) or encode(texts))
    chunks.tokenize(["quick dog"], None, max_length=99)
    for first in range(0, 300, 10):
        asked.clear()
        texts = [f"fox {number}" for number in range(first, first + 10)]
        found = chunks.tokenize(texts, None, max_length=99)
        assert found.input_ids.tolist() == [*chain(*tokenizer(texts)["input_ids"])]
        assert ("fox" in asked) == (first == 0)
    asked.clear()
    chunks.tokenize(["quick dog"], None, max_length=99)
    assert {"quick", "dog"} <= set(asked)


def test_a_tokenizer_that_is_changed_in_memory_is_asked_again():
    tokenizer = word_piece(lowercase=True)
    texts = ["The fox FOX", "a zebra"]

    def check():
        tokens = tokenize(tokenizer, texts, max_length=99)
        assert rows(tokens, tokens.input_ids) == tokenizer(texts)["input_ids"]
        return tokens.input_ids.tolist()

    seen = [check()]
    tokenizer.add_tokens(["zebra"])
    seen.append(check())
    tokenizer.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    seen.append(check())
    assert seen[0] != seen[1] != seen[2]
