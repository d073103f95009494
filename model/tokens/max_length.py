"""How many tokens a text is cut to."""

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from model.errors import CheckpointError, ParameterError

DEFAULT_MAX_LENGTH = 512
# Two special tokens, or three of a pair, and something of a text.
_LEAST = 4


def position_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many tokens `model` can take: its positions, and what its tokenizer says.

    Args:
        model: may stand on the meta device.
        tokenizer: the model's own.
    """
    return min([int(tokenizer.model_max_length), *_positions(model)])


def _positions(model: PreTrainedModel) -> list[int]:
    """Return how many tokens each table of positions in `model` takes; nothing for a model without one."""
    limits = []
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # The RoBERTa family counts positions from padding_idx + 1.
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - offset)
    return limits


def check_max_length(max_length: int, model: PreTrainedModel, name: str) -> None:
    """Refuse a checkpoint that cuts texts to more tokens than its network takes, or to too few to hold one.

    Args:
        max_length: what the checkpoint says.
        model: its network.
        name: the checkpoint, for the message.

    Raises:
        CheckpointError: naming the length and the limits.
    """
    says, limits = f"{name!r} says 'max_length' {max_length} in its config.json, which is", _positions(model)
    if not limits and max_length < _LEAST:
        raise CheckpointError(f"{says} less than {_LEAST}")
    if limits and not _LEAST <= max_length <= min(limits):
        raise CheckpointError(f"{says} not between {_LEAST} and {min(limits)}, the positions of its network")


def choose_max_length(requested: int | None, limit: int) -> int:
    """Return the length that texts are cut to: what was asked for, else `limit`, at most 512.

    Raises:
        ParameterError: if more is asked for than the model takes, or too little to hold a text.
    """
    if requested is None:
        requested = min(limit, DEFAULT_MAX_LENGTH)
    if not _LEAST <= requested <= limit:
        raise ParameterError(
            f"`max_length` {requested} is not between {_LEAST} and {limit}, the model's limit"
        )
    return requested
