import numpy as np
import pytest
import torch

from model.engine.fused_linear import OneDnnLinear, TorchLinear, has_onednn
from model.engine.packed.block import LastPackedBlock, PackedBlock
from model.tokens.packing import micro_batches


@pytest.mark.parametrize("linear", [TorchLinear, OneDnnLinear])
@pytest.mark.parametrize("lengths", [[9], [7, 7, 7], [30, 30, 4, 3, 1]])
@torch.no_grad()
def test_it_is_the_layer_that_it_was_made_from_on_each_text_alone(fastbert, linear, lengths):
    if linear is OneDnnLinear and not has_onednn(torch.float32):
        pytest.skip("this build of torch has no packed oneDNN products")
    states = torch.randn(sum(lengths), 32, generator=torch.Generator().manual_seed(0))
    given = states.clone()
    (batch,) = micro_batches(np.array(lengths), 1000)
    (block,) = fastbert.adapter.blocks(1)
    texts = states.split(lengths)
    expected = [fastbert.adapter.run_layer(1, text[None], (None,))[0] for text in texts]
    packed = PackedBlock(block, num_heads=4, linear=linear)
    torch.testing.assert_close(packed(states, batch), torch.cat(expected), rtol=0, atol=1e-5)
    last = LastPackedBlock(block, num_heads=4, linear=linear)
    first = torch.stack([text[0] for text in expected])
    torch.testing.assert_close(last(states, batch), first, rtol=0, atol=1e-5)
    assert torch.equal(states, given)
