"""How many tokens are computed at once, and what is done where a device has no memory for them."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from model.engine.execution import Execution
from model.engine.gpus import device_named
from model.tokens.lengths import Lengths
from model.tokens.packing import MicroBatch, TokenTypes, balanced_token_budget, micro_batches

Result = TypeVar("Result")

_LOGGER = logging.getLogger(__name__)
# What a layer holds of a token at once, in its hidden states: queries, keys and values, what lies between the
# two linear layers, residuals, and what the allocator keeps.
_STATES_PER_TOKEN = 16


class MemoryBudget:
    """The size of micro-batches, which shrinks where a GPU runs out of memory.

    Attributes:
        tokens: of a micro-batch, padding included, at most.
    """

    def __init__(self, tokens: int) -> None:
        """Begin with micro-batches of at most `tokens` tokens."""
        self.tokens = tokens

    @classmethod
    def on_device(cls, execution: Execution, token_bytes: int) -> "MemoryBudget":
        """Return the budget of `execution`, or less where its GPU has no memory for that now.

        Args:
            execution: what to run on.
            token_bytes: of a token's hidden states.
        """
        if execution.device == "cpu":
            return cls(execution.token_budget)
        free_bytes, _ = torch.cuda.mem_get_info(device_named(execution.device))
        return cls(min(execution.token_budget, max_tokens_for_memory(free_bytes, token_bytes)))

    def micro_batches(self, lengths: Lengths, token_types: TokenTypes | None = None) -> list[MicroBatch]:
        """Cut texts into micro-batches of about the same size.

        Args:
            lengths: (texts,) tokens of each, longest first.
            token_types: (total_tokens,) where layers look at them; None where they do not.
        """
        token_budget = balanced_token_budget(int(lengths.sum()), self.tokens)
        return list(micro_batches(lengths, token_budget, token_types))

    def run_in_parts(self, function: Callable[[MicroBatch], Result], batch: MicroBatch) -> list[Result]:
        """Return `function(batch)`, or its results for parts of a micro-batch that does not fit into memory.

        Micro-batches that are cut later are as small as the parts that fitted.

        Args:
            function: may be called again on a part of what it failed on, so it must leave nothing half-done.
            batch: some texts.

        Raises:
            torch.OutOfMemoryError: if a text does not fit by itself.
        """
        try:
            return [function(batch)]
        except torch.OutOfMemoryError:
            if len(batch.lengths) == 1:
                raise
        # Left first: the exception holds what did not fit.
        torch.cuda.empty_cache()
        self.tokens = max(1, min(self.tokens, batch.num_padded_tokens) // 2)
        _LOGGER.warning("out of memory: micro-batches of %d tokens from here on", self.tokens)
        return [result for half in batch.halves() for result in self.run_in_parts(function, half)]


def max_tokens_for_memory(free_bytes: int, token_bytes: int) -> int:
    """Return how many tokens of a micro-batch fit into half of what a device has free, at least one.

    Args:
        free_bytes: of the device.
        token_bytes: of a token's hidden states.

    >>> max_tokens_for_memory(2 << 30, 768 * 2)
    43690
    """
    return max(1, free_bytes // 2 // (_STATES_PER_TOKEN * token_bytes))
