"""Where a new head begins.

Fresh, it answers about 0 to every text, which of several labels at once means that half of them hold. Labels
are mostly rare, so the first thing that is learnt is to answer lower, by all weights at once; under a tanh
that leaves states in which texts hardly differ, and epochs are lost. A head whose last bias is the best
answer for all texts alike has nothing of that kind to learn (measured, docs/performance.md).
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@torch.no_grad()
def begin_at(model: PreTrainedModel, logits: Tensor | None) -> None:
    """Let a new head answer about the same to every text.

    A head that has learnt, whose last bias is not 0 everywhere, stays as it is.

    Args:
        model: a sequence classifier.
        logits: (num_labels,) the answer; None for what there is.
    """
    linears = [part for part in model.modules() if isinstance(part, nn.Linear)]
    outputs = [part for part in linears if part.out_features == model.config.num_labels]
    bias = outputs[-1].bias if outputs else None
    if logits is not None and bias is not None and not bias.any():
        bias.copy_(logits)
