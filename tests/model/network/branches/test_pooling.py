import pytest
import torch
from torch.nn import functional

from model.network.branches.pooling import PoolingBranch

HIDDEN, WIDTH, LABELS = 20, 12, 3


@pytest.fixture(params=[1, 4], ids="{} queries".format)
def branch(request):
    torch.manual_seed(0)
    branch = PoolingBranch(
        hidden_size=HIDDEN, width=WIDTH, num_queries=request.param, num_labels=LABELS
    ).eval()
    with torch.no_grad():
        for parameter in branch.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return branch


@pytest.fixture
def hidden():
    return torch.randn(5, 9, HIDDEN, generator=torch.Generator().manual_seed(1)) * 2


@pytest.fixture
def attention_mask():
    return torch.arange(9) < torch.tensor([9, 7, 4, 2, 1])[:, None]


def textbook(branch: PoolingBranch, text: torch.Tensor) -> torch.Tensor:
    """One text, one query after the other: attention with a learned query, the mean, the first token."""
    seen = []
    for query in branch.queries.weight:
        attended = functional.scaled_dot_product_attention(query[None], text, text, scale=1.0)
        seen.append(attended[0])
    seen += [text.mean(dim=0), text[0]]
    return branch.classifier(functional.gelu(branch.dense(torch.cat([branch.norm(each) for each in seen]))))


def test_equals_torchs_own_attention_text_by_text(branch, hidden, attention_mask):
    logits = branch(hidden, attention_mask)
    for row, length in enumerate(attention_mask.sum(1).tolist()):
        torch.testing.assert_close(logits[row], textbook(branch, hidden[row, :length]))


def test_without_padding_no_mask_is_needed(branch, hidden):
    whole = torch.ones(5, 9, dtype=torch.bool)
    torch.testing.assert_close(branch(hidden), branch(hidden, whole))


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
