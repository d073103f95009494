import numpy as np

from model.cost.latency import RunCost, measure_cost
from model.cost.network_flops import fastbert_flops
from model.tokens.tokenization import tokenize


def test_counts_flops_a_token_and_takes_the_time(fastbert, make_engine, texts):
    tokenized = tokenize(fastbert.tokenizer, texts, max_length=48)
    flops = fastbert_flops(fastbert.config)
    cost = measure_cost(make_engine(fastbert, token_budget=90), tokenized, flops)
    lengths = tokenized.lengths
    linears = flops.layer_linears[0] * lengths + flops.attention.of_text(lengths)
    np.testing.assert_allclose(cost.layer_flops, linears.sum() / lengths.sum())
    np.testing.assert_allclose(cost.branch_flops, flops.branch.of_text(lengths).sum() / lengths.sum())
    assert cost.layer_seconds > 0
    assert cost.branch_seconds > 0


def test_the_price_of_a_branch_is_its_time_a_flop_over_a_layers():
    cost = RunCost(layer_seconds=10.0, branch_seconds=2.0, layer_flops=100.0, branch_flops=5.0)
    assert cost.branch_to_layer_time_per_flop == 4.0


def test_a_lexical_branch_has_a_price_of_its_own(lexical_fastbert, make_engine, texts):
    tokenized = tokenize(lexical_fastbert.tokenizer, texts, max_length=48)
    flops = fastbert_flops(lexical_fastbert.config)
    cost = measure_cost(make_engine(lexical_fastbert, token_budget=90), tokenized, flops)
    lengths = tokenized.lengths
    np.testing.assert_allclose(cost.lexical_flops, flops.lexical.of_text(lengths).sum() / lengths.sum())
    assert cost.lexical_seconds > 0
    assert cost.lexical_to_layer_time_per_flop == (
        cost.lexical_seconds / cost.lexical_flops / (cost.layer_seconds / cost.layer_flops)
    )


def test_without_a_lexical_branch_there_is_no_price():
    cost = RunCost(layer_seconds=10.0, branch_seconds=2.0, layer_flops=100.0, branch_flops=5.0)
    assert cost.lexical_to_layer_time_per_flop == 0
