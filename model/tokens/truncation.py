"""Which tokens of a text that is too long are kept, as Hugging Face's `longest_first` truncation has it.

Asked to truncate, a fast tokenizer also makes all the parts that it cuts off, of a pair each of one text with
each of the other; and it does not say whether there are any without giving them all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def kept_tokens(
    sequence_ids: Sequence[int | None], *, max_length: int, on_left: bool
) -> npt.NDArray[np.bool_]:
    """Return which tokens are kept, (tokens,).

    Of a pair the shorter text keeps up to half of the room, and the longer one what is left.

    Args:
        sequence_ids: of each token, the text that it belongs to, None for a special token.
        max_length: how many are kept.
        on_left: whether texts are cut on the left.

    >>> kept_tokens([None, 0, 0, 0, None, 1, None], max_length=6, on_left=False).astype(int).tolist()
    [1, 1, 1, 0, 1, 1, 1]
    """
    sequences = np.array([-1 if number is None else number for number in sequence_ids])
    first, second = np.flatnonzero(sequences == 0), np.flatnonzero(sequences == 1)
    room = max_length - int((sequences < 0).sum())
    of_shorter = min(len(first), len(second), room // 2)
    of_longer = room - of_shorter
    is_kept = np.ones(len(sequences), dtype=np.bool_)
    of_each = (of_longer, of_shorter) if len(first) > len(second) else (of_shorter, of_longer)
    for places, most in zip((first, second), of_each, strict=True):
        num_cut = max(0, len(places) - most)
        is_kept[places[:num_cut] if on_left else places[len(places) - num_cut :]] = False
    return is_kept
