"""The branch that a configuration asks for."""

from model.network.branch_design import BranchDesign
from model.network.branches.branch import Branch
from model.network.branches.paper import PaperBranch
from model.network.branches.pooling import PoolingBranch
from model.network.config import FastBertConfig


def make_branch(config: FastBertConfig) -> Branch:
    """Return a branch with fresh weights, of torch's own scale.

    Raises:
        ValueError: if the configuration makes no branch.
    """
    sizes = {
        "hidden_size": config.backbone_config.hidden_size,
        "width": config.branch_size,
        "num_outputs": config.num_outputs,
    }
    if BranchDesign(config.branch_design) is BranchDesign.PAPER:
        return PaperBranch(num_heads=config.branch_heads, **sizes)
    return PoolingBranch(num_queries=config.branch_heads, **sizes)
