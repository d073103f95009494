"""Floating-point operations as torch counts them."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def of_weighted_sums(states, tokens, *_, **__) -> int:
    """What a bag of weighted rows costs, which torch does not count by itself."""
    return 2 * tokens[0] * states[1]


def counted(run) -> int:
    """What torch itself counts; its attention taken apart into products that it can count."""
    weighted_sums = {torch.ops.aten._embedding_bag_forward_only: of_weighted_sums}
    with (
        FlopCounterMode(display=False, custom_mapping=weighted_sums) as counter,
        sdpa_kernel(SDPBackend.MATH),
    ):
        run()
    return counter.get_total_flops()
