import pytest
import torch
from torch import nn

from model.network.branches.paper import PaperBranch

HIDDEN, WIDTH, LABELS = 20, 12, 3


@pytest.fixture(params=[1, 2, 4], ids="{} heads".format)
def branch(request):
    torch.manual_seed(0)
    return PaperBranch(hidden_size=HIDDEN, width=WIDTH, num_heads=request.param, num_labels=LABELS).eval()


@pytest.fixture
def hidden():
    return torch.randn(5, 9, HIDDEN, generator=torch.Generator().manual_seed(1)) * 2


@pytest.fixture
def attention_mask():
    return torch.arange(9) < torch.tensor([9, 7, 4, 2, 1])[:, None]


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


def test_a_text_alone_has_the_logits_that_it_has_in_a_batch(branch, hidden, attention_mask):
    logits = branch(hidden, attention_mask)
    for row, length in enumerate(attention_mask.sum(1).tolist()):
        alone = branch(hidden[row : row + 1, :length])
        torch.testing.assert_close(alone[0], logits[row])


def test_number_of_parameters_is_the_authors():
    branch = PaperBranch(hidden_size=768, width=128, num_heads=2, num_labels=2)
    assert sum(parameter.numel() for parameter in branch.parameters()) == 181_250


def test_width_must_be_a_multiple_of_the_heads():
    with pytest.raises(ValueError, match="width 10 is no multiple of its 3 heads"):
        PaperBranch(hidden_size=8, width=10, num_heads=3, num_labels=2)


def test_logits_have_the_dtype_of_the_states(branch, hidden):
    assert branch.bfloat16()(hidden.bfloat16()).dtype is torch.bfloat16
