from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import BertTokenizer, CanineTokenizer, PreTrainedTokenizerFast

from model.tokens import tokenization
from model.tokens.tokenization import TokenizedTexts, tokenize

TEXT = st.lists(
    st.sampled_from(["the", "fox", "dog", "lunches", "12", "naïve", "!", "[PAD]", "☃"]), max_size=30
).map(" ".join)
TEXTS = st.lists(TEXT, max_size=12)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=12)
MAX_LENGTH = st.integers(4, 40)


def slice_states(tokenized: TokenizedTexts, values) -> list[list[int]]:
    return (
        [row.tolist() for row in np.split(values, np.cumsum(tokenized.lengths)[:-1])]
        if len(tokenized)
        else []
    )


@given(TEXTS, MAX_LENGTH)
def test_equals_the_tokenizers_own_ids_one_by_one(tokenizer, texts, max_length):
    tokenized = tokenize(tokenizer, texts, max_length=max_length)
    whole = [tokenizer(text)["input_ids"] for text in texts]
    cut = [tokenizer(text, truncation=True, max_length=max_length)["input_ids"] for text in texts]
    assert slice_states(tokenized, tokenized.input_ids) == cut
    assert tokenized.lengths.tolist() == list(map(len, cut))
    assert tokenized.truncated.tolist() == [len(ids) > max_length for ids in whole]


@given(PAIRS, MAX_LENGTH)
def test_equals_the_tokenizers_own_ids_for_pairs(tokenizer, pairs, max_length):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    tokenized = tokenize(tokenizer, first, second, max_length=max_length)
    whole = [tokenizer([a], [b]) for a, b in pairs]
    cut = [tokenizer([a], [b], truncation=True, max_length=max_length) for a, b in pairs]
    assert slice_states(tokenized, tokenized.input_ids) == [one["input_ids"][0] for one in cut]
    if pairs:
        assert slice_states(tokenized, tokenized.token_type_ids) == [one["token_type_ids"][0] for one in cut]
    assert tokenized.truncated.tolist() == [len(one["input_ids"][0]) > max_length for one in whole]


def test_exactly_max_length_tokens_are_not_truncated(tokenizer):
    texts = ["fox " * words for words in (7, 8, 9)]
    tokenized = tokenize(tokenizer, texts, max_length=10)  # [CLS] and [SEP] are two of them
    assert tokenized.lengths.tolist() == [9, 10, 10]
    assert tokenized.truncated.tolist() == [False, False, True]


def test_of_a_pair_the_longer_part_is_cut(tokenizer):
    tokenized = tokenize(tokenizer, ["fox " * 20, "dog"], ["dog", "fox " * 20], max_length=10)
    fox, dog = tokenizer.convert_tokens_to_ids(["fox", "dog"])
    assert [(row.count(fox), row.count(dog)) for row in slice_states(tokenized, tokenized.input_ids)] == [
        (6, 1)
    ] * 2
    assert tokenized.truncated.all()


def test_an_empty_second_text_is_still_a_pair(tokenizer):
    tokenized = tokenize(tokenizer, ["fox dog"] * 2, [""] * 2, max_length=5)
    assert tokenized.lengths.tolist() == [5, 5]
    assert not tokenized.truncated.any()
    assert tokenize(tokenizer, ["fox dog"], [""], max_length=4).truncated.all()


@pytest.mark.parametrize("num_texts", [1, 3, 4, 7, 18])
def test_many_texts_are_tokenised_in_several_calls(tokenizer, texts, monkeypatch, num_texts):
    first, second = texts[:num_texts], texts[::-1][:num_texts]
    expected = tokenize(tokenizer, first, second, max_length=20)
    monkeypatch.setattr(tokenization, "_TEXTS_PER_CALL", 3)
    found = tokenize(tokenizer, first, second, max_length=20)
    for name in ("input_ids", "token_type_ids", "lengths", "truncated"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_columns_have_the_stated_types(tokenizer, tokenizer_of):
    for texts in ([], ["fox"]):
        tokenized = tokenize(tokenizer, texts, max_length=9)
        assert tokenized.input_ids.dtype == np.int32
        assert tokenized.lengths.dtype == np.int64
        assert tokenized.truncated.dtype == np.bool_
        assert len(tokenized) == len(texts)
    assert tokenize(tokenizer, ["fox"], max_length=9).token_type_ids.dtype == np.int32
    assert tokenize(tokenizer_of("distilbert"), ["fox"], max_length=9).token_type_ids is None


@given(TEXTS.filter(len), st.data())
def test_take_gives_the_rows_as_if_they_alone_had_been_tokenised(tokenizer, texts, data):
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=15))
    taken = tokenize(tokenizer, texts, texts[::-1], max_length=12).take(np.array(rows, dtype=np.int64))
    pairs = texts[::-1]
    expected = tokenize(tokenizer, [texts[row] for row in rows], [pairs[row] for row in rows], max_length=12)
    assert len(taken) == len(rows)
    for name in ("input_ids", "lengths", "truncated"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(expected, name))
    if rows:
        np.testing.assert_array_equal(taken.token_type_ids, expected.token_type_ids)


def test_take_without_token_types(tokenizer_of):
    tokenized = tokenize(tokenizer_of("distilbert"), ["fox", "the dog"], max_length=9)
    assert tokenized.take(np.array([1, 0])).token_type_ids is None


def test_a_tokenizer_is_left_as_it_was_found(tokenizer_of, tmp_path):
    tokenizer = tokenizer_of("bert")

    def saved(name):
        tokenizer.save_pretrained(tmp_path / name)
        return (tmp_path / name / "tokenizer.json").read_bytes()

    before = saved("before")
    tokenize(tokenizer, ["fox"], max_length=9)
    assert saved("after a text") == before
    tokenize(tokenizer, ["fox " * 20], max_length=9)
    assert saved("after a truncated text") == before


def test_settings_that_a_tokenizer_came_with_are_put_back_and_not_followed(tokenizer_of):
    tokenizer = tokenizer_of("bert")
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.backend_tokenizer.enable_padding(length=30)
    before = tokenizer.backend_tokenizer.to_str()
    assert tokenize(tokenizer, ["fox " * 20, "fox"], max_length=9).lengths.tolist() == [9, 3]
    assert tokenizer.backend_tokenizer.to_str() == before


def test_a_tokenizer_written_in_python_will_do():
    tokenizer = CanineTokenizer()  # a character is a token
    assert not tokenizer.is_fast
    tokenized = tokenize(tokenizer, ["fox", "foxes", "the dog"], max_length=7)
    assert tokenized.lengths.tolist() == [5, 7, 7]
    assert tokenized.truncated.tolist() == [False, False, True]
    assert tokenized.input_ids[1:4].tolist() == [ord(letter) for letter in "fox"]


def test_threads_that_share_a_tokenizer_do_not_meet(tokenizer: BertTokenizer):
    texts = ["fox " * 40, "a dog"] * 8
    expected = tokenize(tokenizer, texts, max_length=16)

    def run(_: int) -> bool:
        found = tokenize(tokenizer, texts, max_length=16)
        return found.lengths.tolist() == expected.lengths.tolist() and found.truncated.tolist() == (
            expected.truncated.tolist()
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(60)))


@pytest.mark.parametrize("rows", [["\u200b"], ["the fox", "\u200b", "\x00", "a dog"]])
def test_what_makes_no_tokens_is_an_unknown_one(tokenizer, rows):
    """As of blanks that the normaliser drops, where a tokenizer adds no special tokens."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = None
    bare = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")
    tokens = tokenize(bare, rows, max_length=9)
    ids = np.split(tokens.input_ids, np.cumsum(tokens.lengths)[:-1])
    expected = [bare(text)["input_ids"] or [bare.unk_token_id] for text in rows]
    assert [each.tolist() for each in ids] == expected
    assert tokens.count(bare.unk_token_id).tolist() == [row.count(bare.unk_token_id) for row in expected]
