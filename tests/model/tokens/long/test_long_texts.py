"""Long texts against the tokenizer's own ids, by bounds so small that ordinary texts are long."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from model.tokens import tokenization
from model.tokens.long import long_texts
from model.tokens.long.long_texts import LongTexts
from model.tokens.tokenization import tokenize
from tests.model.tokens.tokenizers_of_every_kind import byte_level, every_kind, word_piece

KINDS = every_kind()
BLANKS, DROPPED = " \n\t\r\u3000", "\x00\u200b\xad\u0301\ufe0f"
# Many times longer than the bounds below, and no longer than that: the tokenizer itself makes a sequence of
# each pair of a piece that it cuts from one text and one that it cuts from the other.
LONGEST = 160
LONG_WORD = st.sampled_from(
    ["abcde", "ABxyz019+/=", "日本語中文字", "テキスト", "🙂👍", "àéü", "'s.,", "한국"]
).flatmap(lambda letters: st.text(letters, min_size=30, max_size=LONGEST))
RUN = st.builds(
    lambda letter, number: letter * number, st.sampled_from([*BLANKS, *DROPPED, "x"]), st.integers(1, LONGEST)
)
SHORT_WORDS = st.lists(
    st.sampled_from(["a", "fox", "12", "日", "it's", "x²", "<mask>", "[SEP]"]), max_size=80
)
PIECE = st.one_of(
    st.builds(str.join, st.sampled_from([" ", "  ", "\n"]), SHORT_WORDS),
    LONG_WORD,
    RUN,
    st.sampled_from(
        ["[SEP]", "<mask>", " <mask>", "</s>", "[sep]", "<ma", "sk>", "'", "ﷺ", "¨", "\u0301", "zebra"]
    ),
    st.text(max_size=9),
)
TEXT = st.lists(PIECE, max_size=5).map("".join)
TEXTS = st.lists(TEXT, min_size=1, max_size=3)
SIDE = st.sampled_from(["right", "right", "left"])
MAX_LENGTH = st.integers(8, 50)
FEW = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch):
    for name, bound in {
        "_CHARACTERS_PER_TOKEN": 3,
        "_MOST_CHARACTERS_PER_TOKEN": 8,
        "_WHOLE": 64,
        "_PIECE": 16,
        "_PIECES_PER_CALL": 3,
        "_MORE": 2,
    }.items():
        monkeypatch.setattr(long_texts, name, bound)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


def rows(tokens, values):
    return [each.tolist() for each in np.split(values, np.cumsum(tokens.lengths)[:-1])]


def check(tokenizer, texts, pairs, max_length):
    tokens = tokenize(tokenizer, texts, pairs, max_length=max_length)
    expected = tokenizer(texts, pairs, truncation=True, max_length=max_length)
    assert rows(tokens, tokens.input_ids) == expected["input_ids"]
    if "token_type_ids" in expected:
        assert rows(tokens, tokens.token_type_ids) == expected["token_type_ids"]
    whole = tokenizer(texts, pairs, verbose=False)["input_ids"]
    assert tokens.truncated.tolist() == [len(ids) > max_length for ids in whole]


@FEW
@given(TEXTS, MAX_LENGTH, SIDE)
def test_ids_are_the_tokenizers(kind, texts, max_length, side):
    KINDS[kind].truncation_side = side
    check(KINDS[kind], texts, None, max_length)


@FEW
@given(TEXTS.flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(texts))), MAX_LENGTH, SIDE)
def test_ids_of_pairs_are_the_tokenizers(kind, both, max_length, side):
    KINDS[kind].truncation_side = side
    check(KINDS[kind], *both, max_length)


WORDS, LETTERS, IDEOGRAPHS = "the fox " * 8000, "thefoxjumps" * 4000, "日本語中文字" * 8000
LONG = {
    "words": WORDS,
    "letters": LETTERS,
    "ideographs": IDEOGRAPHS,
    "blanks": "fox" + " " * 60_000 + "dog",
    "lines": "fox" + "\n" * 60_000 + "dog",
    "dropped": "fox" + "\u200b" * 60_000 + "dog",
}


class CountingBackend:
    """A tokenizer that adds up the characters that it is given."""

    def __init__(self, backend):
        self._backend, self.characters = backend, 0

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def encode(self, text, **kwargs):
        self.characters += len(text)
        return self._backend.encode(text, **kwargs)


@pytest.mark.parametrize("name", LONG)
def test_what_the_tokenizer_sees_of_a_long_text_is_bounded(kind, name):
    tokenizer = KINDS[kind]
    tokenizer.truncation_side = "right"
    keeps = kind.endswith(("first word", "first word only")) and name in ("lines", "dropped")
    if keeps or (kind, name) == ("deberta-v2", "dropped"):
        pytest.skip("characters that this tokenizer does not know are one token, of any length")
    shortener = LongTexts.of(tokenizer, None)
    counting = shortener._sure_tokens._backend = CountingBackend(tokenizer.backend_tokenizer)
    short = shortener.shortened(LONG[name], most=20)
    # Beginnings that were tried, and the one that was found.
    assert counting.characters + len(short) < 9_000 < len(LONG[name])


@pytest.mark.parametrize(("name", "side"), [("words", "left"), ("words", "right"), ("ideographs", "left")])
def test_both_ends_of_a_long_text_are_cut_from_it(name, side):
    tokenizer = word_piece(lowercase=True)
    tokenizer.truncation_side = side
    text = LONG[name]
    short = LongTexts.of(tokenizer, None).shortened(text, most=20)
    assert len(short) < 200
    assert text.startswith(short) if side == "right" else text.endswith(short)


def test_of_two_long_texts_the_longer_one_keeps_the_odd_token():
    tokenizer = word_piece(lowercase=True)
    for first, second in [(80, 81), (81, 80), (80, 80), (200, 80), (80, 200)]:
        texts, pairs = ["the fox " * first], ["a " * (2 * second)]
        check(tokenizer, texts, pairs, 14)
        check(tokenizer, texts, pairs, 15)
        shorter = LongTexts.of(tokenizer, None).shorten(texts, pairs, max_length=14)
        assert sum(len(column[0]) for column in shorter) < 400


@pytest.mark.parametrize(
    "token",
    [
        AddedToken("a fox"),
        AddedToken("zebra", rstrip=True),
        AddedToken("zebra", single_word=True),
        AddedToken("z" * 65),
    ],
)
def test_tokenizers_whose_added_tokens_see_further_get_texts_whole(token):
    tokenizer = byte_level(add_prefix_space=False)
    assert LongTexts.of(tokenizer, None) is not None
    tokenizer.add_tokens([token])
    assert LongTexts.of(tokenizer, None) is None
    check(tokenizer, ["a fox zebra" * 40], None, 12)


def test_a_token_that_takes_blanks_along_may_stand_behind_many_of_them():
    tokenizer = byte_level(add_prefix_space=False)
    tokenizer.add_tokens([AddedToken("<gap>", lstrip=True, normalized=False)])
    check(tokenizer, [f"fox{' ' * number}<gap> dog" for number in (1, 90, 2000)], None, 8)
    check(tokenizer, [f"fox{' ' * number} dog" for number in (1, 90, 2000)], None, 8)


def test_an_added_token_inside_a_word_that_is_too_long():
    tokenizer = word_piece(lowercase=True)
    tokenizer.add_tokens(["zebra"])
    check(tokenizer, ["x" * 900 + "zebra" + "x" * 900, "x" * 1800], None, 12)


def test_characters_per_call_are_bounded(monkeypatch):
    tokenizer = word_piece(lowercase=True)
    texts = ["soft\u00adhyphen, "] * 40
    expected = tokenize(tokenizer, texts, texts, max_length=20)
    monkeypatch.setattr(tokenization, "_CHARACTERS_PER_CALL", 100)
    handed = []
    whole = tokenization._tokenize_run

    def counted(tokenizer, chunks, texts, pairs, **kwargs):
        handed.append(sum(map(len, [*texts, *pairs])))
        return whole(tokenizer, chunks, texts, pairs, **kwargs)

    monkeypatch.setattr(tokenization, "_tokenize_run", counted)
    found = tokenize(tokenizer, texts, texts, max_length=20)
    assert max(handed) <= 100
    np.testing.assert_array_equal(found.input_ids, expected.input_ids)
