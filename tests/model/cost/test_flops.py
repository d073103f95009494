import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, BertConfig

from model.cost.flops import checkpoint_flops, fastbert_flops, flops_model
from model.engine.execution import Backend
from model.errors import CheckpointError
from model.exits.policy import ExitPolicy
from model.network.backbones.adapter import Block
from model.network.backbones.text_flops import TextFlops
from model.network.branch_design import BranchDesign
from model.network.branches.branch import BranchFlops
from model.network.branches.paper import PaperBranch

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


def of_weighted_sums(states, tokens, *_, **__) -> int:
    """What a bag of weighted rows costs, which torch does not count by itself."""
    return 2 * tokens[0] * states[1]


def counted(run) -> int:
    """What torch itself counts; its attention taken apart into products that it can count."""
    weighted_sums = {torch.ops.aten._embedding_bag_forward_only: of_weighted_sums}
    with (
        FlopCounterMode(display=False, custom_mapping=weighted_sums) as counter,
        sdpa_kernel(SDPBackend.MATH),
    ):
        run()
    return counter.get_total_flops()


@pytest.fixture(scope="module", params=BranchDesign)
def design(request):
    return request.param


@pytest.fixture(scope="module")
def model(family, design, make_fastbert):
    model = make_fastbert(family, branch_design=design)
    model.backbone.set_attn_implementation("eager")
    return model


def of_segments(model, num_tokens):
    """Return what a layer that sees token types does with them, which is left out of the count.

    A token's products with two embeddings of segments, and in each head a choice between them for every pair.
    """
    tells_types = "token_type_ids" in model.tokenizer.model_input_names
    if not (model.adapter.layers_see_token_types and tells_types):
        return 0 * num_tokens
    return 2 * 2 * 32 * num_tokens + 2 * 2 * 4 * num_tokens**2


@pytest.mark.parametrize("text", ["a", "The quick brown fox jumps over the lazy dog."])
def test_full_depth_is_what_torch_counts_in_the_hugging_face_model(model, text):
    inputs = model.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        expected = counted(lambda: model.backbone(**inputs))
    num_tokens = np.array([inputs["input_ids"].shape[1]])
    expected -= 4 * int(of_segments(model, num_tokens)[0])
    flops = fastbert_flops(model.config)
    # Hugging Face finishes all tokens of the last layer, and looks at distances that a text has not.
    whole = replace(flops, skipped=TextFlops(), attention=model.adapter.attention_flops)
    assert whole.full_depth(num_tokens).tolist() == [expected]
    assert (flops.full_depth(num_tokens)[0] < expected) == (flops != whole)


@pytest.mark.parametrize(
    "thresholds", [(2.0, 0, 0), (0, 2.0, 0), (1e-9, 1e-9, 2.0), (1e-9, 0, 1e-9), (0, 0, 0)]
)
def test_exits_are_what_torch_counts_in_the_sweep(model, make_engine, texts, thresholds):
    policy = ExitPolicy(thresholds=thresholds, name="drawn")
    flops = fastbert_flops(model.config)
    engine = make_engine(model, backend=Backend.TORCH)
    for text in texts[:3]:
        result = model.predict([text], policy=policy, engine=engine)
        expected = counted(lambda text=text: model.predict([text], policy=policy, engine=engine))
        # The last layer's one query per text is run as sums, which torch does not count.
        is_last = result.exit_layer == flops.num_layers
        width = sum(
            block.query.out_features for block in model.adapter.blocks(3)[-1:] if type(block) is Block
        )
        expected = expected + 4 * width * result.num_tokens * is_last
        expected = expected - result.exit_layer * of_segments(model, result.num_tokens)
        assert flops.with_exits(result.num_tokens, result.exit_layer, policy).tolist() == expected.tolist()


def test_every_layer_of_every_family_costs_something(model):
    flops = fastbert_flops(model.config)
    assert flops.num_layers == model.num_layers == 4
    assert min(flops.layer_linears) > 0
    assert flops.attention.per_pair > 0
    assert flops.head_linears > 0
    assert flops.hidden_size == 32
    assert flops.num_labels == 3


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


def test_groups_of_albert_that_share_weights_cost_as_often_as_they_are_run(make_classifier):
    one, two = (flops_model(make_classifier(name).config) for name in ("albert", "albert, groups"))
    assert len(one.layer_linears) == len(two.layer_linears) == 4
    # Two inner layers a group cost twice as much; the head is the same.
    assert two.layer_linears == tuple(2 * cost for cost in one.layer_linears)
    assert two.attention.per_pair == 2 * one.attention.per_pair
    assert one.head_linears == two.head_linears == 2 * 32 * (32 + 3)


def test_an_unsupported_family_has_no_count():
    with pytest.raises(CheckpointError, match="gpt2"):
        flops_model(AutoConfig.for_model("gpt2", n_embd=8, n_layer=2, n_head=2, vocab_size=9))


# -- with a lexical branch ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lexical(base):
    return replace(base, lexical=BranchFlops(per_token=100, per_text=7))


def test_a_configuration_tells_of_its_lexical_branch(lexical_fastbert, fastbert):
    flops = fastbert_flops(lexical_fastbert.config)
    assert flops.lexical == lexical_fastbert.lexical_branch.flops
    assert list(flops.exits) == [0, 1, 2, 3, 4]
    assert replace(flops, lexical=None) == fastbert_flops(fastbert.config)


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


def test_a_checkpoints_flops_are_those_of_its_configuration(make_fastbert, tmp_path):
    model = make_fastbert("bert")
    model.save_pretrained(tmp_path)
    assert checkpoint_flops(tmp_path) == fastbert_flops(model.config)


@pytest.mark.parametrize("path", [("branch_design",), ("backbone_config", "hidden_act")], ids="/".join)
def test_a_configuration_that_makes_no_network_is_one_line(make_fastbert, tmp_path, path):
    make_fastbert("bert").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    holder = config if len(path) == 1 else config[path[0]]
    holder[path[-1]] = "x"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"has no usable config\.json: .*x"):
        checkpoint_flops(tmp_path)
