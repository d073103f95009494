"""What every design does alike."""

import pytest
import torch

from tests.model.network.branches.branches import HEADS, QUERIES, paper_branch, pooling_branch


@pytest.fixture(
    params=[
        *((paper_branch, heads) for heads in HEADS),
        *((pooling_branch, queries) for queries in QUERIES),
    ],
    ids=lambda made: f"{made[0].__name__} {made[1]}",
)
def branch(request):
    make, size = request.param
    return make(size)


def test_padding_is_not_seen(branch, hidden, attention_mask):
    other = torch.where(attention_mask[..., None], hidden, torch.full_like(hidden, 50.0))
    torch.testing.assert_close(branch(other, attention_mask), branch(hidden, attention_mask), rtol=0, atol=0)


def test_every_real_token_is_seen(branch, hidden, attention_mask):
    logits = branch(hidden, attention_mask)
    for token in range(7):  # of the second text
        changed = hidden.clone()
        changed[1, token] += 1
        differs = (branch(changed, attention_mask) != logits).any(dim=1)
        assert differs.tolist() == [False, True, False, False, False]


def test_logits_have_the_dtype_of_the_states(branch, hidden, attention_mask):
    assert branch.bfloat16()(hidden.bfloat16(), attention_mask).dtype is torch.bfloat16
