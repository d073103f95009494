import pytest
from tokenizers import Regex, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from model.tokens.tokenization import tokenize
from model.tokens.tokenizer_kinds import may_part_at_spaces, sees_only_nearby
from tests.model.tokens.tokenizers_of_every_kind import byte_level, every_kind, unigram, word_piece

KINDS = every_kind()


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_part_at_spaces(kind):
    assert may_part_at_spaces(KINDS[kind])
    assert sees_only_nearby(KINDS[kind])


def test_kinds_that_may_see_across_spaces_are_left_alone():
    whole = unigram(pre_tokenizers.Metaspace(split=False), normalizers.NFKC())
    assert not may_part_at_spaces(whole)
    assert not sees_only_nearby(whole)
    regex = byte_level(add_prefix_space=False)
    regex.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    assert not may_part_at_spaces(regex)
    bare = PreTrainedTokenizerFast(tokenizer_object=word_piece(lowercase=True).backend_tokenizer)
    bare.backend_tokenizer.pre_tokenizer = None
    assert not may_part_at_spaces(bare)
    assert not sees_only_nearby(bare)


def test_models_that_join_words_across_spaces_are_left_alone():
    joined = byte_level(add_prefix_space=False)
    joined.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    # A merge across the space that needs one neighbour, whatever stands beside in a proof.
    vocab = {letter: number for number, letter in enumerate("gothex", start=4)} | {
        "Ġ": 10,
        "Ġt": 11,
        "oĠt": 12,
    }
    joined.backend_tokenizer.model = models.BPE(vocab=vocab, merges=[("Ġ", "t"), ("o", "Ġt")])
    assert not may_part_at_spaces(joined)
    tokens = tokenize(joined, ["go to the"], max_length=99)
    assert tokens.input_ids.tolist() == joined("go to the")["input_ids"]


def test_what_replaces_a_space_may_look_around():
    tokenizer = word_piece(lowercase=True)
    thousands = normalizers.Replace(Regex(r"(?<=[0-9]) (?=[0-9]{3})"), "")
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.BertNormalizer(), thousands])
    assert not may_part_at_spaces(tokenizer)
    tokens = tokenize(tokenizer, ["the fox costs 12 000"], max_length=99)
    assert tokens.input_ids.tolist() == tokenizer("the fox costs 12 000")["input_ids"]


@pytest.mark.parametrize(
    "normalizer",
    [
        normalizers.Replace("a b", "c"),
        normalizers.Replace(Regex("a.*b"), "c"),
        normalizers.Strip(left=True, right=False),
        normalizers.Prepend("x"),
    ],
)
def test_steps_that_may_see_further_than_what_is_nearby(normalizer):
    tokenizer = word_piece(lowercase=True)
    tokenizer.backend_tokenizer.normalizer = normalizer
    assert not sees_only_nearby(tokenizer)


def test_added_tokens_with_spaces_in_them_are_left_alone():
    tokenizer = word_piece(lowercase=True)
    tokenizer.add_tokens(["quick fox"])
    assert not may_part_at_spaces(tokenizer)
    tokens = tokenize(tokenizer, ["a quick fox"], max_length=99)
    assert tokens.input_ids.tolist() == tokenizer("a quick fox")["input_ids"]


def test_very_many_added_tokens_are_left_alone():
    tokenizer = word_piece(lowercase=True)
    tokenizer.add_tokens([f"added{number}" for number in range(201)])
    assert not may_part_at_spaces(tokenizer)
