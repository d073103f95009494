import pytest
import torch

from tests.model.network.branches.branches import HIDDEN


@pytest.fixture
def hidden():
    return torch.randn(5, 9, HIDDEN, generator=torch.Generator().manual_seed(1)) * 2


@pytest.fixture
def attention_mask():
    return torch.arange(9) < torch.tensor([9, 7, 4, 2, 1])[:, None]
