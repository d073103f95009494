import pytest
from tokenizers import normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from model.tokens.tokenization import tokenize
from model.tokens.tokenizer_kinds import may_part_at_spaces
from tests.model.tokens.tokenizers_of_every_kind import byte_level, every_kind, unigram, word_piece

KINDS = every_kind()


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_part_at_spaces(kind):
    assert may_part_at_spaces(KINDS[kind])


def test_kinds_that_may_see_across_spaces_are_left_alone():
    whole = unigram(pre_tokenizers.Metaspace(split=False), normalizers.NFKC())
    assert not may_part_at_spaces(whole)
    regex = byte_level(add_prefix_space=False)
    regex.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    assert not may_part_at_spaces(regex)
    bare = PreTrainedTokenizerFast(tokenizer_object=word_piece(lowercase=True).backend_tokenizer)
    bare.backend_tokenizer.pre_tokenizer = None
    assert not may_part_at_spaces(bare)


def test_added_tokens_with_spaces_in_them_are_left_alone():
    tokenizer = word_piece(lowercase=True)
    tokenizer.add_tokens(["quick fox"])
    assert not may_part_at_spaces(tokenizer)
    tokens = tokenize(tokenizer, ["a quick fox"], max_length=99)
    assert tokens.input_ids.tolist() == tokenizer("a quick fox")["input_ids"]


def test_texts_that_are_cut_on_the_left_are_left_alone():
    tokenizer = word_piece(lowercase=True)
    tokenizer.truncation_side = "left"
    assert not may_part_at_spaces(tokenizer)


def test_very_many_added_tokens_are_left_alone():
    tokenizer = word_piece(lowercase=True)
    tokenizer.add_tokens([f"added{number}" for number in range(201)])
    assert not may_part_at_spaces(tokenizer)
