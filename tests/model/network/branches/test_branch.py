"""What every design does alike."""

import pytest
import torch

from model.network.branches.branch import StateReading
from model.tokens.read_tokens import ReadTokens
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


@pytest.fixture(params=[(reads, normalises) for reads in ReadTokens for normalises in (False, True)], ids=str)
def reading(request):
    tokens, normalise = request.param
    return StateReading(tokens=tokens, normalise=normalise)


def test_a_text_alone_has_the_logits_that_it_has_in_a_batch(branch, reading, hidden, attention_mask):
    branch.reading = reading
    logits = branch(hidden, attention_mask)
    for row, length in enumerate(attention_mask.sum(1).tolist()):
        alone = branch(hidden[row : row + 1, :length])
        torch.testing.assert_close(alone[0], logits[row])


def test_the_token_that_is_read_is_seen_by_itself(branch, hidden):
    """Tokens in another order are the same to all but the token that is read."""
    for tokens, place in ((ReadTokens.FIRST, 0), (ReadTokens.ALL, 0), (ReadTokens.LAST, -1)):
        branch.reading = StateReading(tokens=tokens)
        others_moved, moved = hidden.clone(), hidden.clone()
        others_moved[:, [3, 5]] = hidden[:, [5, 3]]
        moved[:, [3, place]] = hidden[:, [place, 3]]
        torch.testing.assert_close(branch(others_moved), branch(hidden))
        assert (branch(moved) - branch(hidden)).abs().max() > 1e-3


def test_states_that_are_normalised_may_be_of_any_size(branch, hidden):
    branch.reading = StateReading(normalise=True)
    sizes = torch.logspace(0, 3, 9)[:, None]
    torch.testing.assert_close(branch(hidden * sizes), branch(hidden), rtol=1e-3, atol=1e-4)


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
