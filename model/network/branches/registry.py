"""The branch that a configuration asks for."""

from model.network.backbones.registry import adapter_type
from model.network.branch_design import BranchDesign
from model.network.branches.branch import Branch, StateReading
from model.network.branches.paper import PaperBranch
from model.network.branches.pooling import PoolingBranch
from model.network.config import FastBertConfig


def make_branch(config: FastBertConfig) -> Branch:
    """Return a branch with fresh weights, of torch's own scale.

    Raises:
        CheckpointError: if the backbone's family is not supported.
        ValueError: if the configuration makes no branch.
    """
    backbone = config.backbone_config
    family = adapter_type(backbone, "the backbone")
    reading = StateReading(tokens=family.read_tokens(backbone), normalise=not family.normalises_states)
    sizes = {
        "hidden_size": backbone.hidden_size,
        "width": config.branch_size,
        "num_outputs": config.num_outputs,
    }
    if BranchDesign(config.branch_design) is BranchDesign.PAPER:
        return PaperBranch(num_heads=config.branch_heads, reading=reading, **sizes)
    return PoolingBranch(num_queries=config.branch_heads, reading=reading, **sizes)
