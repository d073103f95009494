"""A module's copy to compute with, which takes memory only for what is converted."""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

ModuleType = TypeVar("ModuleType", bound=nn.Module)


def frozen_copy(module: ModuleType, *, device: torch.device | str, dtype: torch.dtype) -> ModuleType:
    """Return a copy of `module` on `device`, in eval mode, whose parameters want no gradient.

    Floating parameters and buffers are converted to `dtype`, except for constants, buffers that a checkpoint
    does not hold: rotary frequencies in 16 bits would be other positions. What is not converted shares the
    memory of the module's own, so in-place changes of that are seen. Parameters that stand in several places
    do so in the copy. The module itself keeps its device, dtype, mode and gradients.

    Args:
        module: any module.
        device: of the copy.
        dtype: of the copy's floating parameters and buffers.
    """
    saved = module.state_dict(keep_vars=True).keys()

    def converted(tensor: Tensor, *, to: torch.dtype | None = dtype) -> Tensor:
        return tensor.detach().to(device=device, dtype=to if tensor.is_floating_point() else None)

    memo: dict[int, Tensor] = {
        id(buffer): converted(buffer, to=dtype if name in saved else None)
        for name, buffer in module.named_buffers(remove_duplicate=False)
    }
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(converted(parameter), requires_grad=False)
    return deepcopy(module, memo).eval()
