import pytest

from model.tokens.long.partings import Partings
from tests.model.tokens.tokenizers_of_every_kind import byte_level, every_kind, word_piece

KINDS = every_kind()
TEXT = "the fox,  it's 12 日本語 x\ty\nz naïve é a b"


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_ids_of_pieces_are_those_of_the_text(kind):
    pieces = [*Partings(KINDS[kind]).pieces(TEXT * 3, size=1)]
    assert "".join(pieces) == TEXT * 3
    assert len(pieces) > 10
    assert [token for piece in pieces for token in ids(KINDS[kind], piece)] == ids(KINDS[kind], TEXT * 3)


def test_a_beginning_and_an_end_have_more_tokens_than_asked_for():
    tokenizer = word_piece(lowercase=True)
    partings = Partings(tokenizer)
    for find in (partings.beginning, partings.end):
        part = find(TEXT * 9, most=9, size=99)
        assert 9 < len(ids(tokenizer, part)) < 30
        assert find(TEXT * 9, most=9, size=20) is None


def test_ideographs_part_where_each_is_a_word():
    assert len([*Partings(word_piece(lowercase=True)).pieces("日本語", size=1)]) == 2
    assert len([*Partings(byte_level(add_prefix_space=False)).pieces("日本語", size=1)]) == 1
    tokenizer = word_piece(lowercase=True)
    tokenizer.add_tokens(["日本"])
    assert len([*Partings(tokenizer).pieces("日本語", size=1)]) == 1
