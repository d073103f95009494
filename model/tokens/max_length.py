"""How many tokens a text is cut to."""

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from model.errors import ParameterError

DEFAULT_MAX_LENGTH = 512


def position_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many tokens `model` can take: its positions, and what its tokenizer says.

    Args:
        model: may stand on the meta device.
        tokenizer: the model's own.
    """
    limits = [int(tokenizer.model_max_length)]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # The RoBERTa family counts positions from padding_idx + 1.
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - offset)
    return min(limits)


def choose_max_length(requested: int | None, limit: int) -> int:
    """Return the length that texts are cut to: what was asked for, else `limit`, at most 512.

    Raises:
        ParameterError: if more is asked for than the model takes, or too little to hold a text.
    """
    if requested is None:
        return min(limit, DEFAULT_MAX_LENGTH)
    if not 4 <= requested <= limit:
        raise ParameterError(f"`max_length` {requested} is not between 4 and {limit}, the model's limit")
    return requested
