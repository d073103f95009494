"""Small branches of each design, for the tests."""

import torch

from model.network.branches.branch import Branch
from model.network.branches.paper import PaperBranch
from model.network.branches.pooling import PoolingBranch

HIDDEN, WIDTH, LABELS = 20, 12, 3
HEADS, QUERIES = (1, 2, 4), (1, 4)


def paper_branch(num_heads: int) -> PaperBranch:
    torch.manual_seed(0)
    return PaperBranch(hidden_size=HIDDEN, width=WIDTH, num_heads=num_heads, num_outputs=LABELS).eval()


def pooling_branch(num_queries: int) -> PoolingBranch:
    torch.manual_seed(0)
    branch = PoolingBranch(hidden_size=HIDDEN, width=WIDTH, num_queries=num_queries, num_outputs=LABELS)
    return shaken(branch.eval(), 0.3)


def shaken(branch: Branch, size: float) -> Branch:
    """Move every weight, biases and norms among them."""
    with torch.no_grad():
        for parameter in branch.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return branch
