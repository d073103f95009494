"""ModernBERT's packed block against Hugging Face's layer, on each text alone."""

import numpy as np
import pytest
import torch

from model.engine.fused_linear import OneDnnLinear, TorchLinear, has_onednn
from model.engine.packed import attention, window_attention
from model.engine.packed.pre_norm_block import LastPackedPreNormBlock, PackedPreNormBlock
from model.engine.padded_runner import PaddedRunner
from model.tokens.packing import micro_batches

EXACT = {"rtol": 0, "atol": 1e-5}
# Some are longer than what a window of 128 tokens reaches, on either side; one is attended to in parts.
LENGTHS = [600, 150, 150, 66, 65, 7, 7, 1]
GLOBAL, LOCAL = 0, 1


def check(adapter, index, lengths, linear=TorchLinear):
    states = torch.randn(sum(lengths), 32, generator=torch.Generator().manual_seed(0))
    given = states.clone()
    (batch,) = micro_batches(np.array(lengths), 10_000)
    expected = [
        PaddedRunner(adapter).run_layer(index + 1, text, *micro_batches(np.array([len(text)]), 1))
        for text in states.split(lengths)
    ]
    (block,) = adapter.blocks(index)
    packed = PackedPreNormBlock(block, num_heads=4, linear=linear)
    torch.testing.assert_close(packed(states, batch), torch.cat(expected), **EXACT)
    last = LastPackedPreNormBlock(block, num_heads=4, linear=linear)
    read = adapter.read_tokens(adapter.model.config)
    normed = adapter.base.final_norm(torch.cat(expected))
    torch.testing.assert_close(last(states, batch), read.of_packed(normed, batch), **EXACT)
    assert torch.equal(states, given)


@pytest.fixture(scope="module", params=["modernbert", "modernbert, mean"])
def adapter(make_fastbert, request):
    return make_fastbert(request.param, local_attention=128).adapter


@pytest.mark.parametrize("linear", [TorchLinear, OneDnnLinear])
@pytest.mark.parametrize("index", [GLOBAL, LOCAL])
@pytest.mark.parametrize("lengths", [[9], [7, 7, 7], LENGTHS])
@torch.no_grad()
def test_it_is_the_layer_that_it_was_made_from_on_each_text_alone(adapter, index, linear, lengths):
    if linear is OneDnnLinear and not has_onednn(torch.float32):
        pytest.skip("this build of torch has no packed oneDNN products")
    check(adapter, index, lengths, linear)


@pytest.mark.parametrize("rows", [1, 5, 1000])
@pytest.mark.parametrize("scores", [1, 100, 1 << 19])
@pytest.mark.parametrize("window", [0, 2, 14, 1000])
@torch.no_grad()
def test_how_much_is_computed_at_once_changes_nothing(make_fastbert, monkeypatch, rows, scores, window):
    monkeypatch.setattr(attention, "_MAX_SCORES_IN_CACHE", scores)
    monkeypatch.setattr(window_attention, "WINDOW_ROWS", rows)
    check(make_fastbert("modernbert", local_attention=window).adapter, LOCAL, [40, 23, 23, 23, 2])
