"""Processes that train one model together: each computes its share of every batch, and all take one step."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.errors import ItemError

Value = TypeVar("Value")

_LOST = (
    "another process of this training has ended, or is not reached any more; see what became of it, and go "
    "on with `resume`"
)


class Ranks:
    """The processes of a training, of which this is one; as it is, the only one.

    Attributes:
        rank: of this process, from 0. The first is the one that reads and writes what outlasts the training.
        size: how many there are.
    """

    rank = 0
    size = 1

    def sum_(self, tensor: Tensor) -> None:
        """Replace `tensor`, of one shape everywhere, by its sum over all processes.

        Raises:
            ItemError: if another process has ended.
        """

    def from_first(self, value: Value) -> Value:
        """Return what the first process calls this with.

        Args:
            value: pickled on its way, to processes of one program; tensors lie on the host.

        Raises:
            ItemError: if another process has ended.
        """
        return value

    def rows_of(self, number: int) -> npt.NDArray[np.int64]:
        """Return which of `number` rows are this process's: every `size`th, so that lengths are alike.

        Rows of a batch come longest first.
        """
        return np.arange(self.rank, number, self.size)


ONE_PROCESS = Ranks()


class GroupRanks(Ranks):
    """The processes of torch's process group, which someone else has joined and will leave."""

    def __init__(self, device: torch.device) -> None:
        """Ask torch who they are.

        Args:
            device: whose tensors the group's backend sums: "cpu" for gloo, "cuda" for nccl.
        """
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._device = device

    def sum_(self, tensor: Tensor) -> None:
        """See `Ranks`."""
        moved = tensor.to(self._device)
        try:
            dist.all_reduce(moved)
        except RuntimeError as error:
            raise ItemError(_LOST) from error
        if moved is not tensor:
            tensor.copy_(moved)

    def from_first(self, value: Value) -> Value:
        """See `Ranks`."""
        values = [value]
        try:
            dist.broadcast_object_list(values, device=self._device)
        except RuntimeError as error:
            raise ItemError(_LOST) from error
        return values[0]


def sum_gradients(ranks: Ranks, parts: Iterable[nn.Module], losses: Tensor) -> Tensor:
    """Add up what the processes found on their rows of a batch.

    Args:
        ranks: the processes.
        parts: whose gradients are replaced by the sums; the same everywhere. Where a process had no rows,
            there are none yet.
        losses: (any,) float32 of this process's rows, on the device of the gradients.

    Returns:
        The sums of the losses, of the same shape.
    """
    if ranks.size == 1:
        return losses
    parameters = [parameter for part in parts for parameter in part.parameters() if parameter.requires_grad]
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    # One message, since each costs a round trip.
    sums = torch.cat([losses, *(gradient.flatten() for gradient in gradients)])
    ranks.sum_(sums)
    pieces = sums[len(losses) :].split([gradient.numel() for gradient in gradients])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
    return sums[: len(losses)]
