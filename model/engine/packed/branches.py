"""The branches of a model, made ready to read packed texts."""

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn

from model.engine.execution import Execution
from model.engine.frozen_copy import frozen_copy
from model.engine.gpus import device_named
from model.engine.packed.layers import linear_of
from model.engine.packed.paper_branch import PackedPaperBranch
from model.engine.packed.pooling_branch import PackedPoolingBranch
from model.network.branches.paper import PaperBranch
from model.network.branches.pooling import PoolingBranch
from model.tokens.packing import MicroBatch


class PackedBranch(Protocol):
    """A branch in two parts: what is done of a micro-batch, and what of all texts at once."""

    def attend(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return what the branch sees of each text, (rows, width).

        Args:
            states: (tokens or more, hidden_size) of the micro-batch, contiguous.
            batch: its texts.
        """

    def classify(self, features: Tensor) -> Tensor:
        """Return (rows, num_outputs) float32 logits from what `attend` returned, of any number of texts."""


def pack_branches(branches: Iterable[nn.Module], execution: Execution) -> list[PackedBranch]:
    """Return branches made ready for what `execution` says; the caller's stay as they are.

    Args:
        branches: `Branch`es, on any device and in any dtype.
        execution: what to run on.
    """
    linear = linear_of(execution.backend)
    packed: list[PackedBranch] = []
    for branch in branches:
        frozen = frozen_copy(branch, device=device_named(execution.device), dtype=execution.dtype)
        if isinstance(frozen, PaperBranch):
            packed.append(PackedPaperBranch(frozen, linear))
        else:
            assert isinstance(frozen, PoolingBranch)
            packed.append(PackedPoolingBranch(frozen, linear))
    return packed
