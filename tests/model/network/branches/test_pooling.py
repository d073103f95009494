import pytest
import torch
from torch.nn import functional

from model.network.branches.pooling import PoolingBranch
from tests.model.network.branches.branches import QUERIES, pooling_branch


@pytest.fixture(params=QUERIES, ids="{} queries".format)
def branch(request):
    return pooling_branch(request.param)


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
