import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.tokens.ngrams import MAX_ORDER, hash_ngrams
from model.tokens.tokenization import TokenizedTexts, tokenize

SEP = 3
# Few different tokens, so that texts share n-grams.
TEXTS = st.lists(st.lists(st.integers(0, 5), max_size=9), max_size=7)


def packed(texts):
    return TokenizedTexts(
        input_ids=np.array([token for text in texts for token in text], dtype=np.int32),
        token_type_ids=None,
        lengths=np.array([len(text) for text in texts], dtype=np.int64),
        truncated=np.zeros(len(texts), dtype=np.bool_),
        max_length=9,
    )


def spelt_out(text, sep=SEP):
    """Every n-gram of a text in the order of their first tokens: tokens and the segments that they are in."""
    marked = [(token, 0 if sep is None else text[:place].count(sep)) for place, token in enumerate(text)]
    orders = range(1, MAX_ORDER + 1)
    return [
        tuple(marked[first : first + order])
        for first in range(len(text))
        for order in orders
        if first + order <= len(text)
    ]


@given(TEXTS)
def test_equal_ngrams_have_equal_hashes_and_others_others(texts):
    ngrams = hash_ngrams(packed(texts), sep_token_id=SEP)
    expected = [spelt_out(text) for text in texts]
    assert ngrams.counts.tolist() == [len(each) for each in expected]
    flat = [ngram for each in expected for ngram in each]
    assert ngrams.orders.tolist() == [len(ngram) for ngram in flat]
    hashes = ngrams.hashes.tolist()
    pairs = set(zip(flat, hashes, strict=True))
    assert len(pairs) == len(set(flat)) == len(set(hashes))


@given(TEXTS.filter(bool))
def test_a_text_has_the_ngrams_that_it_has_alone(texts):
    together = hash_ngrams(packed(texts), sep_token_id=SEP)
    alone = [hash_ngrams(packed([text]), sep_token_id=SEP).hashes for text in texts]
    np.testing.assert_array_equal(together.hashes, np.concatenate(alone))


def test_the_same_words_are_others_in_the_second_text_of_a_pair(tokenizer):
    tokens = tokenize(tokenizer, ["fox", "dog"], ["dog", "fox"], max_length=12)
    sep = tokenizer.sep_token_id
    told, untold = hash_ngrams(tokens, sep_token_id=sep), hash_ngrams(tokens, sep_token_id=None)
    half = len(told.hashes) // 2
    fox = untold.hashes[:half][np.isin(untold.hashes[:half], untold.hashes[half:])]
    assert len(set(fox.tolist())) > len(
        set(told.hashes[:half].tolist()) & set(told.hashes[half:].tolist())
    ), "without a separator the words are the same"


def test_bits_look_random():
    # Tokens are small numbers beside each other: the worst that a hash may get.
    hashes = hash_ngrams(packed([[token] for token in range(30_000)]), sep_token_id=None).hashes
    bits = np.unpackbits(hashes.view(np.uint8)).reshape(-1, 64).mean(axis=0)
    assert (abs(bits - 0.5) < 0.02).all()
    slots = np.bincount((hashes >> np.uint64(64 - 10)).astype(np.int64), minlength=1024)
    assert 8 < slots.min() <= slots.max() < 60
