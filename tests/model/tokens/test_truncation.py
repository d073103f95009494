import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tokens.truncation import kept_tokens
from tests.model.tokens.tokenizers_of_every_kind import every_kind

KINDS = every_kind()
NUMBER = st.integers(0, 30)


@pytest.fixture(scope="module", params=["bert", "roberta", "xlm-roberta"])
def tokenizer(request):
    return KINDS[request.param]


@given(NUMBER, st.none() | NUMBER, st.integers(4, 40), st.sampled_from(["left", "right"]))
def test_the_tokenizer_keeps_the_same(tokenizer, first, second, max_length, side):
    tokenizer.truncation_side = side
    texts, pairs = ["the fox " * first], None if second is None else ["a dog " * second]
    whole = tokenizer(texts, pairs, truncation=False)
    ids = whole["input_ids"][0]
    if len(ids) <= max_length:
        return
    is_kept = kept_tokens(whole.sequence_ids(0), max_length=max_length, on_left=side == "left")
    cut = tokenizer(texts, pairs, truncation=True, max_length=max_length)["input_ids"][0]
    assert [token for token, kept in zip(ids, is_kept.tolist(), strict=True) if kept] == cut
