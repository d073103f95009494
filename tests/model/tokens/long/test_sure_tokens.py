import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from model.tokens.long.sure_tokens import SureTokens
from tests.model.tokens.tokenizers_of_every_kind import byte_level, every_kind

KINDS = every_kind()
WORD = st.sampled_from(["abcde", "日本語中文字", "thefoxjumps", "xyz/0+", "テスト"]).flatmap(
    lambda letters: st.text(letters, min_size=300, max_size=500)
)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return KINDS[request.param]


@given(WORD, st.sampled_from(["", "s", "\u0301", "本", "thefox", " dog", "]", "\u200d", "'s", "\u3099"]))
def test_what_follows_does_not_change_sure_tokens(tokenizer, word, rest):
    part = SureTokens(tokenizer).beginning(word + rest, most=9, size=len(word))
    if part is None:
        return
    assert word.startswith(part)
    whole, found = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (word + rest, part))
    assert whole[:10] == found[:10]
    assert min(len(whole), len(found)) > 9


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "albert", "no space before the first word"])
def test_most_of_a_long_word_is_sure(kind):
    tokenizer = KINDS[kind]
    word = "thefoxjumpsover日本" * 40
    num_tokens = len(tokenizer(word, add_special_tokens=False)["input_ids"])
    sure = SureTokens(tokenizer)
    assert sure.beginning(word, most=num_tokens // 2, size=len(word)) is not None
    assert sure.beginning(word, most=num_tokens, size=len(word)) is None


def test_nothing_is_sure_of_a_word_that_may_be_too_long_for_word_piece():
    assert SureTokens(KINDS["bert"]).beginning("x" * 900, most=0, size=900) is None


def test_nothing_is_sure_where_a_beginning_ends_with_marks():
    assert SureTokens(KINDS["xlm-roberta"]).beginning("e\u0301" * 300, most=0, size=600) is None


def test_blanks_that_a_token_behind_them_takes_along_are_not_sure():
    tokenizer = byte_level(add_prefix_space=False)
    tokenizer.add_tokens([AddedToken("<gap>", lstrip=True, normalized=False)])
    sure = SureTokens(tokenizer)
    assert sure.beginning("fox" + " " * 900 + " dog", most=9, size=600) is not None
    assert sure.beginning("fox" + " " * 900 + "<gap>", most=9, size=600) is None
