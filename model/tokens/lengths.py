"""How many tokens texts have, and where these stand in a packed tensor. Light: nothing here imports torch.

Packed is said in `model.tokens.packing`.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Lengths = npt.NDArray[np.int64]


def cu_seqlens(lengths: Lengths | npt.NDArray[np.bool_]) -> Lengths:
    """Return where each text begins in a packed tensor, from 0, and where the last one ends, (texts + 1,).

    So it counts flags, too: how many of them are set before each place.

    >>> cu_seqlens(np.array([3, 1])).tolist()
    [0, 3, 4]
    """
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])


def token_indices(starts: Lengths, lengths: Lengths) -> Lengths:
    """Return which tokens some runs of tokens are, one run after another, (total_tokens,).

    Args:
        starts: (runs,) the index of each run's first token.
        lengths: (runs,) its tokens.

    >>> token_indices(np.array([7, 0]), np.array([2, 3])).tolist()
    [7, 8, 0, 1, 2]
    """
    # Token i of run k, which is number cu_seqlens[k] + i of all, is starts[k] + i.
    indices: Lengths = np.repeat(starts - cu_seqlens(lengths)[:-1], lengths) + np.arange(lengths.sum())
    return indices


def argsort_by_length(lengths: Lengths) -> Lengths:
    """Return the indices of texts from the longest to the shortest, equal ones as they stood, (texts,)."""
    return np.argsort(-lengths, kind="stable")


def padded_token_indices(starts: Lengths, lengths: Lengths) -> Lengths:
    """Return which token stands where when texts are padded to one length, (texts, width).

    Args:
        starts: (texts,) the index of each text's first token.
        lengths: (texts,); behind a text's end stands its last token again.
    """
    columns = np.arange(lengths.max())
    indices: Lengths = starts[:, None] + np.minimum(columns, lengths[:, None] - 1)
    return indices


def chunks(lengths: Lengths, max_tokens: int) -> Iterator[slice]:
    """Cut texts into runs of at most `max_tokens` tokens; a longer text is a run by itself.

    >>> list(chunks(np.array([5, 4, 4, 1]), 8))
    [slice(0, 1, None), slice(1, 3, None), slice(3, 4, None)]
    """
    offsets, first = cu_seqlens(lengths), 0
    while first < len(lengths):
        # The last text that ends within the limit.
        last = int(np.searchsorted(offsets, offsets[first] + max_tokens, side="right")) - 1
        stop = max(first + 1, last)
        yield slice(first, stop)
        first = stop
