from copy import deepcopy

import numpy as np
import pytest
import torch

from model.engine import lexical
from model.engine.lexical import LexicalReader, ngram_bag
from model.tokens.ngrams import hash_ngrams
from model.tokens.tokenization import tokenize


def one_by_one(function, parts):
    return [function(part) for part in parts]


@pytest.fixture
def tokens(lexical_fastbert, texts):
    return tokenize(lexical_fastbert.tokenizer, [*texts, "words that nobody knows"], max_length=48)


def test_a_bag_holds_what_the_table_knows_of_each_text(lexical_fastbert, tokens):
    table, sep = lexical_fastbert.lexical_branch.table, lexical_fastbert.tokenizer.sep_token_id
    bag = ngram_bag(tokens, table, sep_token_id=sep)
    assert bag.offsets[0] == 0
    assert bag.offsets[-1] == len(bag.numbers) == len(bag.orders)
    for row in range(len(tokens)):
        alone = hash_ngrams(tokens.take(np.array([row])), sep_token_id=sep)
        numbers, is_known = table.find(alone.hashes)
        here = slice(int(bag.offsets[row]), int(bag.offsets[row + 1]))
        assert bag.numbers[here].tolist() == numbers.tolist()
        assert bag.orders[here].tolist() == alone.orders[is_known].tolist()
    assert len(bag.numbers) < len(hash_ngrams(tokens, sep_token_id=sep).hashes)


@pytest.mark.parametrize("tokens_per_part", [1, 60])
def test_answers_do_not_depend_on_how_texts_are_parted(
    lexical_fastbert, tokens, monkeypatch, tokens_per_part
):
    sep = lexical_fastbert.tokenizer.sep_token_id
    reader = LexicalReader(lexical_fastbert.lexical_branch, sep_token_id=sep)
    whole = reader.logits(tokens, one_by_one)
    monkeypatch.setattr(lexical, "_TOKENS_PER_PART", tokens_per_part)
    torch.testing.assert_close(reader.logits(tokens, one_by_one), whole, rtol=0, atol=1e-5)


def test_a_branch_of_any_dtype_and_mode_answers_in_float32_and_stays_as_it_is(lexical_fastbert, tokens):
    branch = deepcopy(lexical_fastbert.lexical_branch).to(torch.bfloat16).train()
    before = {name: value.clone() for name, value in branch.state_dict().items()}
    logits = LexicalReader(branch, sep_token_id=None).logits(tokens, one_by_one)
    again = LexicalReader(branch, sep_token_id=None).logits(tokens, one_by_one)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, again), "no dropout"
    assert branch.training
    assert all(torch.equal(value, before[name]) for name, value in branch.state_dict().items())


def test_an_engine_tells_of_its_exits(make_engine, fastbert, lexical_fastbert):
    assert list(make_engine(fastbert).exits) == [1, 2, 3, 4]
    assert list(make_engine(lexical_fastbert).exits) == [0, 1, 2, 3, 4]
