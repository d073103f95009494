import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from model.cost.network_flops import checkpoint_flops, fastbert_flops, flops_model
from model.engine.execution import Backend
from model.errors import CheckpointError
from model.exits.policy import ExitPolicy
from model.network.backbones.adapter import Block
from model.network.branch_design import BranchDesign
from model.network.part_flops import TextFlops
from tests.model.cost.torch_flops import counted


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


def test_a_configuration_tells_of_its_lexical_branch(lexical_fastbert, fastbert):
    flops = fastbert_flops(lexical_fastbert.config)
    assert flops.lexical == lexical_fastbert.lexical_branch.flops
    assert list(flops.exits) == [0, 1, 2, 3, 4]
    assert replace(flops, lexical=None) == fastbert_flops(fastbert.config)


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
