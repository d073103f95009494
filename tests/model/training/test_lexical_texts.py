from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.engine.lexical import ngram_bag
from model.tokens.ngram_table import NgramTable, slots_of
from model.tokens.ngrams import hash_ngrams
from model.training import lexical_texts
from model.training.lexical_texts import LexicalPasses, LexicalTexts, lexical_batches, shared_ngrams
from tests.model.tokens.test_ngrams import TEXTS, packed
from tests.model.training.lexical_task import labelled

SEP = 3


def texts_of(texts):
    return LexicalTexts(tokens=packed(texts), logits=np.arange(2.0 * len(texts)).reshape(-1, 2))


def hashes_of(text):
    return set(hash_ngrams(packed([text]), sep_token_id=SEP).hashes.tolist())


def known(table, hashes):
    return {each for each in hashes if table.find(np.array([each], dtype=np.uint64))[1].all()}


@given(st.lists(TEXTS.filter(bool), min_size=1, max_size=3).filter(lambda parts: any(map(any, parts))))
def test_known_are_the_ngrams_of_two_texts_or_more(parts):
    table = shared_ngrams(map(texts_of, parts), sep_token_id=SEP, at_most=10_000)
    counts = Counter(each for part in parts for text in part for each in hashes_of(text))
    shared = {each for each, count in counts.items() if count >= 2} or set(counts)
    slots = {int(slot) for slot in slots_of(np.array(list(shared), dtype=np.uint64), table.slot_bits)}
    assert len(table) == len(slots)
    assert shared <= known(table, counts)


def test_of_too_many_the_most_frequent_are_known():
    often, seldom = [1, 1, 1], [2, 2, 2]
    texts = texts_of([often] * 5 + [seldom] * 2)
    table = shared_ngrams(iter([texts]), sep_token_id=SEP, at_most=3)
    assert known(table, hashes_of(often) | hashes_of(seldom)) == hashes_of(often)


def test_a_text_counts_an_ngram_once():
    table = shared_ngrams(iter([texts_of([[1, 1], [2], [2]])]), sep_token_id=SEP, at_most=100)
    assert known(table, hashes_of([1, 1]) | hashes_of([2])) == hashes_of([2])


@given(TEXTS.filter(bool), st.integers(1, 8))
def test_batches_are_the_texts_in_their_order(texts, batch_size):
    lexical = texts_of(texts)
    hashes = hash_ngrams(lexical.tokens, sep_token_id=SEP).hashes
    table = NgramTable.of_slots(slots_of(hashes, 10), slot_bits=10)
    whole = ngram_bag(lexical.tokens, table, sep_token_id=SEP)
    batches = list(lexical_batches(lexical, table, sep_token_id=SEP, batch_size=batch_size))
    assert [len(each.logits) for each in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert torch.equal(torch.cat([each.logits for each in batches]), torch.from_numpy(lexical.logits))
    for name in ("numbers", "orders"):
        parts = [getattr(each.bag, name) for each in batches]
        assert torch.equal(torch.cat(parts), getattr(whole, name))
    assert torch.equal(torch.cat([each.bag.offsets.diff() for each in batches]), whole.offsets.diff())


def pass_of(passes, index):
    parts = list(passes(index))
    return parts, [tuple(row) for part in parts for row in part.logits.tolist()]


@pytest.fixture
def source():
    labels = labelled(40)
    labels.logits[:, 0] += np.arange(40)  # every text is told by its logits
    return labels


@pytest.mark.parametrize("kept_bytes", [1 << 30, 10])
def test_every_pass_has_every_text_once_in_an_order_of_its_own(fastbert, source, monkeypatch, kept_bytes):
    monkeypatch.setattr(lexical_texts, "_KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(lexical_texts, "_WINDOW_ROWS", 15)
    monkeypatch.setattr(lexical_texts, "_TOKENS_PER_PART", 30)
    told = []
    passes = LexicalPasses(fastbert, source, seed=0, on_texts=told.append)
    seen = []
    for index in range(3):
        parts, rows = pass_of(passes, index)
        assert sorted(rows) == sorted(map(tuple, source.logits.tolist()))
        assert all(len(part.tokens.input_ids) <= 30 for part in parts)
        assert told[-len(parts) :] == [len(part) for part in parts]
        seen.append(rows)
    assert seen[0] != seen[1] != seen[2]
    again = LexicalPasses(fastbert, source, seed=0, on_texts=told.append)
    assert [pass_of(again, index)[1] for index in range(3)] == seen
    other = LexicalPasses(fastbert, source, seed=1, on_texts=told.append)
    assert pass_of(other, 0)[1] != seen[0]


def test_a_corpus_that_fits_is_read_once(fastbert, source, monkeypatch):
    reads = []
    batches = source.batches
    object.__setattr__(
        source, "batches", lambda *args, **options: reads.append(1) or batches(*args, **options)
    )
    passes = LexicalPasses(fastbert, source, seed=0, on_texts=lambda number: None)
    for index in range(3):
        assert sum(map(len, passes(index))) == 40
    assert len(reads) == 1
    monkeypatch.setattr(lexical_texts, "_KEPT_BYTES", 10)
    passes = LexicalPasses(fastbert, source, seed=0, on_texts=lambda number: None)
    for index in range(3):
        assert sum(map(len, passes(index))) == 40
    assert len(reads) == 4
