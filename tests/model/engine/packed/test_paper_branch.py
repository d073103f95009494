import numpy as np
import pytest
import torch

from model.engine.fused_linear import OneDnnLinear, TorchLinear, has_onednn
from model.engine.packed.paper_branch import PackedPaperBranch
from model.network.branches.paper import PaperBranch
from model.tokens.packing import micro_batches

HIDDEN, WIDTH = 20, 12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("linear", [TorchLinear, OneDnnLinear])
@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("lengths", [[9], [7, 7, 7], [9, 9, 4, 3, 1]])
@torch.no_grad()
def test_it_answers_as_the_branch_does_to_each_text_alone(dtype, linear, heads, lengths):
    if linear is OneDnnLinear and not has_onednn(dtype):
        pytest.skip("this machine has no packed oneDNN products of this format")
    torch.manual_seed(heads)
    branch = PaperBranch(hidden_size=HIDDEN, width=WIDTH, num_heads=heads, num_labels=3)
    for parameter in branch.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    states = torch.randn(sum(lengths), HIDDEN)
    expected = torch.cat([branch(text[None]) for text in states.split(lengths)])
    (batch,) = micro_batches(np.array(lengths), 100)
    packed = PackedPaperBranch(branch.to(dtype), linear)
    context = packed.attend(states.to(dtype), batch)
    assert context.shape == (len(lengths), heads * WIDTH)
    found = packed.classify(context)
    assert found.dtype is torch.float32
    tolerance = 1e-5 if dtype is torch.float32 else 5e-2
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
