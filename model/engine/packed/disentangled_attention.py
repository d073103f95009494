"""DeBERTa's attention over packed texts: scores by content, and by how far two tokens stand apart.

A token's query meets the keys of all distances, its key the queries of all distances (He et al. 2021,
equation 4). What distances are projected to depends on weights alone, so it is computed once; and a product
with the distances that a text has, in their order, is the scores of its tokens, each row one place further
on than the row before: they are added from there, and nothing is gathered.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from model.engine.packed.attention import SCRATCH, attend_by_length, parts_in_cache, softmax_in_place
from model.tokens.packing import MicroBatch

# Rows whose products with distances are computed together: each row more takes a distance more.
_ROWS_AT_ONCE = 128


class DisentangledAttention:
    """The attention of one layer, computed in float32 whatever the dtype of the states."""

    def __init__(
        self, keys: Tensor | None, queries: Tensor | None, distance_rows: Callable[[int], Tensor]
    ) -> None:
        """Take what distances are projected to.

        Args:
            keys: (heads, distances, size) float32, what queries meet; None where they meet none.
            queries: likewise what keys meet, multiplied by `query_scale`.
            distance_rows: given a length, which row of both is of a token's distance to another,
                (2 * length - 1,), from `length - 1` down to `1 - length`.
        """
        self._keys, self._queries, self._distance_rows = keys, queries, distance_rows
        # Of the longest text that was met: a shorter one's stand in the middle.
        self._rows_of_longest = distance_rows(1)

    def __call__(self, projected: Tensor, batch: MicroBatch) -> Tensor:
        """Return what every token gathers from its text; see `attend`.

        Args:
            projected: (tokens or more, 3, heads, size) queries, multiplied by `query_scale`, keys and values.
            batch: its texts.
        """
        return attend_by_length(projected, batch.length_buckets(0), self._attend_alike)

    def _attend_alike(self, projected: Tensor, group: MicroBatch) -> Tensor:
        """Return (texts, heads, length, size) from (3, texts, heads, length, size)."""
        _, num_texts, num_heads, length, size = projected.shape
        attended = projected.new_empty(num_texts, num_heads, length, size)
        falling = self._rows(length)
        rising = falling.flip(0)
        for texts, heads in parts_in_cache(num_texts, num_heads, length**2):
            part = projected[:, texts, heads].transpose(1, 2)
            some = torch.empty(part.shape).copy_(part)
            keys = None if self._keys is None else self._keys[heads].index_select(1, falling)
            queries = None if self._queries is None else self._queries[heads].index_select(1, rising)
            attended[texts, heads] = _attend_at_once(some, keys, queries).transpose(0, 1)
        return attended

    def _rows(self, length: int) -> Tensor:
        """Return the rows of the distances in a text of `length`, the largest first."""
        rows = self._rows_of_longest
        if len(rows) < 2 * length - 1:
            self._rows_of_longest = rows = self._distance_rows(length)
        longest = (len(rows) + 1) // 2
        return rows[longest - length : longest + length - 1]


def _attend_at_once(projected: Tensor, keys: Tensor | None, queries: Tensor | None) -> Tensor:
    """Attend in texts of one length.

    Args:
        projected: (3, heads, texts, length, size) float32.
        keys: (heads, 2 * length - 1, size), by the distance of the query's token from the key's, falling.
        queries: likewise by the distance of the key's token from the query's.

    Returns:
        (heads, texts, length, size).
    """
    _, heads, texts, length, _ = projected.shape
    query, key, value = projected.flatten(1, 2)
    scores = SCRATCH.get((heads * texts, length, length), projected.dtype)
    torch.bmm(query, key.transpose(1, 2), out=scores)
    by_text = scores.view(heads, texts, length, length)
    if keys is not None:
        _add_by_distance(by_text, projected[0], keys)
    if queries is not None:
        _add_by_distance(by_text.transpose(2, 3), projected[1], queries)
    softmax_in_place(scores, None)
    return torch.bmm(scores, value).view(heads, texts, length, -1)


def _add_by_distance(scores: Tensor, states: Tensor, table: Tensor) -> None:
    """Add to `scores[..., i, j]` the product of `states[..., i, :]` with the row of `table` for i - j.

    Args:
        scores: (heads, texts, length, length).
        states: (heads, texts, length, size).
        table: (heads, 2 * length - 1, size), from the distance `length - 1` down to `1 - length`.
    """
    heads, texts, length, size = states.shape
    for first in range(0, length, _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, length - first)
        # Of i - j, the distances that these rows have: from first + rows - 1 down to first - length + 1.
        width = rows + length - 1
        stop = 2 * length - 1 - first
        distances = table[:, stop - width : stop].transpose(1, 2)
        some = states[:, :, first : first + rows].reshape(heads, texts * rows, size)
        products = torch.bmm(some, distances)
        # Row i begins at its distance to the first token.
        shifted = products.as_strided(
            (heads, texts, rows, length),
            (texts * rows * width, rows * width, width - 1, 1),
            rows - 1,
        )
        scores[:, :, first : first + rows] += shifted
