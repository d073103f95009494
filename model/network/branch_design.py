"""The designs of a branch, and their sizes. Light: nothing here imports torch."""

from enum import StrEnum


class BranchDesign(StrEnum):
    """How a branch reads the states of its layer.

    The paper's attends from the first token over narrowed states. The pooling one reads the whole states
    through a few learned queries, which costs next to nothing a token, and agrees with the teacher more often
    (docs/performance.md).
    """

    PAPER = "paper"
    POOLING = "pooling"


# Width, and heads or queries, of each design: of the paper's those of Liu et al. 2020, Table 1, and of the
# authors' code; of the other those that were chosen by measurement (docs/performance.md).
BRANCH_SIZES = {BranchDesign.PAPER: (128, 2), BranchDesign.POOLING: (384, 4)}
