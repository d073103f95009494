import pytest
import torch
from torch import nn

from model.network.branches.paper import PaperBranch
from tests.model.network.branches.branches import HEADS, WIDTH, paper_branch


@pytest.fixture(params=HEADS, ids="{} heads".format)
def branch(request):
    return paper_branch(request.param)


def textbook(branch: PaperBranch, hidden: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """torch's own attention, all queries, then the first token."""
    attention = nn.MultiheadAttention(WIDTH, branch.num_heads, batch_first=True)
    attention.load_state_dict(
        {
            "in_proj_weight": torch.cat([branch.query.weight, branch.key.weight, branch.value.weight]),
            "in_proj_bias": torch.cat([branch.query.bias, branch.key.bias, branch.value.bias]),
            "out_proj.weight": branch.attention_output.weight,
            "out_proj.bias": branch.attention_output.bias,
        }
    )
    narrow = branch.narrow(hidden).tanh()
    attended, _ = attention(
        narrow, narrow, narrow, key_padding_mask=None if attention_mask is None else ~attention_mask
    )
    return branch.classifier(branch.dense(attended[:, 0]).tanh())


def test_equals_torchs_own_attention(branch, hidden):
    torch.testing.assert_close(branch(hidden), textbook(branch, hidden, None))


def test_equals_torchs_own_attention_with_padding(branch, hidden, attention_mask):
    torch.testing.assert_close(branch(hidden, attention_mask), textbook(branch, hidden, attention_mask))


def test_number_of_parameters_is_the_authors():
    branch = PaperBranch(hidden_size=768, width=128, num_heads=2, num_outputs=2)
    assert sum(parameter.numel() for parameter in branch.parameters()) == 181_250


def test_width_must_be_a_multiple_of_the_heads():
    with pytest.raises(ValueError, match="width 10 is no multiple of its 3 heads"):
        PaperBranch(hidden_size=8, width=10, num_heads=3, num_outputs=2)
