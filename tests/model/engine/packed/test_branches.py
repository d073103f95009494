import numpy as np
import pytest
import torch

from model.engine.fused_linear import OneDnnLinear, TorchLinear, has_onednn
from model.engine.packed.paper_branch import PackedPaperBranch
from model.engine.packed.pooling_branch import PackedPoolingBranch
from model.network.branches.paper import PaperBranch
from model.network.branches.pooling import PoolingBranch
from model.tokens.packing import micro_batches
from tests.model.network.branches.branches import shaken

HIDDEN, WIDTH = 20, 12
SIZES = {"hidden_size": HIDDEN, "width": WIDTH, "num_outputs": 3}


def paper(heads):
    """Return a branch, what packs it, and how wide what it sees of a text is."""
    return PaperBranch(num_heads=heads, **SIZES), PackedPaperBranch, heads * WIDTH


def pooling(queries):
    return PoolingBranch(num_queries=queries, **SIZES), PackedPoolingBranch, (queries + 2) * HIDDEN


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("linear", [TorchLinear, OneDnnLinear])
@pytest.mark.parametrize(("make", "size"), [(paper, 1), (paper, 2), (paper, 4), (pooling, 1), (pooling, 4)])
@pytest.mark.parametrize("lengths", [[9], [7, 7, 7], [9, 9, 4, 3, 1]])
@torch.no_grad()
def test_it_answers_as_the_branch_does_to_each_text_alone(dtype, linear, make, size, lengths):
    if linear is OneDnnLinear and not has_onednn(dtype):
        pytest.skip("this machine has no packed oneDNN products of this format")
    torch.manual_seed(size)
    branch, packed_type, width = make(size)
    shaken(branch, 0.2)
    # What stands behind the texts is not theirs.
    states = torch.cat([torch.randn(sum(lengths), HIDDEN), torch.full((5, HIDDEN), torch.nan)])
    expected = torch.cat([branch(text[None]) for text in states[: sum(lengths)].split(lengths)])
    (batch,) = micro_batches(np.array(lengths), 100)
    packed = packed_type(branch.to(dtype), linear)
    features = packed.attend(states.to(dtype), batch)
    assert features.shape == (len(lengths), width)
    found = packed.classify(features)
    assert found.dtype is torch.float32
    tolerance = 1e-5 if dtype is torch.float32 else 5e-2
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
