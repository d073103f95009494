from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig

from model.cost.network_flops import flops_model
from model.exits.policy import ExitPolicy
from model.network.branches.paper import PaperBranch
from model.network.part_flops import BranchFlops

MILLION = 1e6


@pytest.fixture(scope="module")
def base():
    return flops_model(BertConfig(num_labels=2))


# -- the paper's count (Liu et al. 2020, Tables 1 and 2) ----------------------------------------------


def test_bert_base_costs_what_the_paper_says(base):
    assert base.paper_full_depth() == 21_785_247_744
    assert base.paper_layer() / MILLION == pytest.approx(1811.94, abs=0.005)
    branch = base.paper_branch.of_text(128)
    assert branch / MILLION == pytest.approx(41.98, abs=0.005)
    assert (base.paper_layer() + branch) / MILLION == pytest.approx(1853.92, abs=0.005)


def test_leaving_at_the_first_layer_is_the_papers_ceiling(base):
    assert base.paper_saved_compute(1) == pytest.approx(11.75, abs=0.005)
    # At full depth no branch is run, only the teacher classifier.
    assert base.paper_saved_compute(12, 1) == 1.0
    # With every branch run, full depth costs 2.1 % more than BERT.
    assert 1 / base.paper_saved_compute(12) == pytest.approx(22246.98 / 21785.25, abs=1e-5)


def test_the_papers_count_knows_no_labels(base):
    assert flops_model(BertConfig(num_labels=150)).paper_full_depth() == base.paper_full_depth()


# -- the honest count ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny():
    config = BertConfig(
        vocab_size=9,
        hidden_size=6,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=10,
        num_labels=4,
    )
    return flops_model(config, PaperBranch(hidden_size=6, width=8, num_heads=2, num_outputs=4))


LAYER = 2 * (4 * 6 * 6 + 2 * 6 * 10)  # a token: four projections, up, down
ATTENTION = 2 * 2 * 6  # a pair of tokens: scores, weighted values
HEAD = 2 * (6 * 6 + 6 * 4)  # pooler, labels
BRANCH = 2 * (6 * 8) + 2 * 2 * 2 * 8  # a token: narrow; two heads' scores and sums
BRANCH_TEXT = 2 * (5 * 8 * 8 + 8 * 4)  # query, key, value, attention output, dense, labels


def last_layer(n: int) -> int:
    """Keys and values of all tokens; the rest for the first token only."""
    return 2 * (2 * 6 * 6) * n + ATTENTION * n + 2 * (2 * 6 * 6 + 2 * 6 * 10)


def test_full_depth_equals_a_count_by_hand(tiny):
    lengths = np.array([1, 5, 11])
    expected = [2 * (LAYER * n + ATTENTION * n * n) + last_layer(n) + HEAD for n in lengths.tolist()]
    assert tiny.full_depth(lengths).tolist() == expected


def test_exits_equal_a_count_by_hand(tiny):
    policy = ExitPolicy(thresholds=(0.5, 0.0), name="the second layer has no exit")
    found = tiny.with_exits(np.array([5, 5, 7]), np.array([1, 3, 3], dtype=np.int16), policy)
    branch = {n: BRANCH * n + BRANCH_TEXT for n in (5, 7)}
    assert found.tolist() == [
        LAYER * 5 + ATTENTION * 25 + branch[5],
        2 * (LAYER * 5 + ATTENTION * 25) + last_layer(5) + branch[5] + HEAD,
        2 * (LAYER * 7 + ATTENTION * 49) + last_layer(7) + branch[7] + HEAD,
    ]


@given(
    st.lists(st.tuples(st.integers(1, 512), st.integers(1, 12)), min_size=1),
    st.floats(0, 1, exclude_min=True),
)
def test_leaving_later_costs_more_and_full_depth_with_branches_most(base, rows, speed):
    num_tokens, exit_layer = (np.array(column) for column in zip(*rows, strict=True))
    policy = ExitPolicy.from_speed(speed, num_layers=12)
    cost = base.with_exits(num_tokens, exit_layer.astype(np.int16), policy)
    later = base.with_exits(num_tokens, np.minimum(exit_layer + 1, 12).astype(np.int16), policy)
    assert ((cost < later) == (exit_layer < 12)).all()
    last = base.with_exits(num_tokens, np.full(len(rows), 12, dtype=np.int16), policy)
    assert (last > base.full_depth(num_tokens)).all()


def test_full_depth_without_branches_is_full_depth(base):
    num_tokens = np.array([1, 77, 512])
    policy = ExitPolicy.from_speed(0, num_layers=12)
    cost = base.with_exits(num_tokens, np.full(3, 12, dtype=np.int16), policy)
    assert cost.tolist() == base.full_depth(num_tokens).tolist()


def test_a_branch_costs_a_fortieth_of_a_layer_in_bert_base(base):
    policies = [ExitPolicy(thresholds=(first, *[0.0] * 10), name="drawn") for first in (0.0, 1e-9)]
    without, with_branch = (
        base.with_exits(np.array([128]), np.array([2], dtype=np.int16), policy)[0] for policy in policies
    )
    assert (with_branch - without) / (without / 2) < 0.025


# -- with a lexical branch ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lexical(base):
    return replace(base, lexical=BranchFlops(per_token=100, per_text=7))


def test_texts_that_leave_before_the_first_layer_cost_the_lexical_branch(lexical, base):
    num_tokens, exit_layer = np.array([3, 40, 40]), np.array([0, 0, 2], dtype=np.int16)
    policy = ExitPolicy(thresholds=(0.5,) * 11, lexical_threshold=0.5, name="all")
    cost = lexical.with_exits(num_tokens, exit_layer, policy)
    assert cost[:2].tolist() == [307, 4007]
    late = np.array([2, 2, 2], dtype=np.int16)
    paper = ExitPolicy(thresholds=policy.thresholds, name="the layers'")
    assert cost[2] == base.with_exits(num_tokens, late, paper)[2] + 4007
    assert (
        lexical.with_exits(num_tokens, late, paper).tolist()
        == base.with_exits(num_tokens, late, paper).tolist()
    ), "what is not run costs nothing"


def test_the_papers_count_stays_finite_where_no_layer_is_run(lexical, base):
    assert lexical.paper_saved_compute(0, 0, runs_lexical=True) == base.paper_full_depth() / (100 * 128 + 7)
    assert lexical.paper_saved_compute(3) == base.paper_saved_compute(3)
    assert lexical.paper_saved_compute(3, runs_lexical=True) < base.paper_saved_compute(3)
