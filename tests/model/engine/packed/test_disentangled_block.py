"""DeBERTa's packed block against Hugging Face's layer, on each text alone."""

import numpy as np
import pytest
import torch

from model.engine.fused_linear import OneDnnLinear, TorchLinear, has_onednn
from model.engine.packed import attention, disentangled_attention
from model.engine.packed.disentangled_block import LastPackedDisentangledBlock, PackedDisentangledBlock
from model.engine.padded_runner import PaddedRunner
from model.tokens.packing import micro_batches

EXACT = {"rtol": 0, "atol": 1e-5}
# More than the products with distances take at once, and than there are distances that are told apart.
LENGTHS = [300, 150, 150, 40, 7, 7, 7, 1]


def check(adapter, lengths, linear=TorchLinear):
    states = torch.randn(sum(lengths), 32, generator=torch.Generator().manual_seed(0))
    given = states.clone()
    (batch,) = micro_batches(np.array(lengths), 10_000)
    expected = [
        PaddedRunner(adapter).run_layer(2, text, *micro_batches(np.array([len(text)]), 1))
        for text in states.split(lengths)
    ]
    (block,) = adapter.blocks(1)
    packed = PackedDisentangledBlock(block, num_heads=4, linear=linear)
    torch.testing.assert_close(packed(states, batch), torch.cat(expected), **EXACT)
    last = LastPackedDisentangledBlock(block, num_heads=4, linear=linear)
    torch.testing.assert_close(last(states, batch), torch.stack([text[0] for text in expected]), **EXACT)
    assert torch.equal(states, given)


@pytest.fixture(scope="module")
def adapter(make_fastbert):
    return make_fastbert("deberta-v2").adapter


@pytest.mark.parametrize("linear", [TorchLinear, OneDnnLinear])
@pytest.mark.parametrize("lengths", [[9], [7, 7, 7], LENGTHS])
@torch.no_grad()
def test_it_is_the_layer_that_it_was_made_from_on_each_text_alone(adapter, linear, lengths):
    if linear is OneDnnLinear and not has_onednn(torch.float32):
        pytest.skip("this build of torch has no packed oneDNN products")
    check(adapter, lengths, linear)


@pytest.mark.parametrize(
    "settings",
    [
        {"pos_att_type": ["c2p"]},
        {"pos_att_type": ["p2c"]},
        {"pos_att_type": []},
        {"share_att_key": False},
        {"position_buckets": -1, "max_relative_positions": 5},
        {"position_buckets": 400, "norm_rel_ebd": "none"},
    ],
    ids=str,
)
@torch.no_grad()
def test_every_setting_is_run_as_hugging_face_does(make_fastbert, settings):
    check(make_fastbert("deberta-v2", **settings).adapter, LENGTHS)


@pytest.mark.parametrize("rows", [1, 5, 1000])
@pytest.mark.parametrize("scores", [1, 100, 1 << 19])
@torch.no_grad()
def test_how_much_is_computed_at_once_changes_nothing(adapter, monkeypatch, rows, scores):
    monkeypatch.setattr(attention, "_MAX_SCORES_IN_CACHE", scores)
    monkeypatch.setattr(disentangled_attention, "_ROWS_AT_ONCE", rows)
    check(adapter, [40, 23, 23, 23, 2])
