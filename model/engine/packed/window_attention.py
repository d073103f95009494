"""Attention to the tokens near by: what is further away than a window reaches is not computed."""

from functools import lru_cache, partial

import torch
from torch import Tensor

from model.engine.packed.attention import SCRATCH, attend_by_length, parts_in_cache, softmax_in_place
from model.network.part_flops import WINDOW_ROWS
from model.tokens.packing import MicroBatch


def attend_in_window(projected: Tensor, batch: MicroBatch, reach: int) -> Tensor:
    """Return what every token gathers from its text's tokens near it, computed in float32.

    Args:
        projected: (tokens or more, 3, heads, size), on a CPU; see `attend`.
        batch: its texts.
        reach: how many tokens away the last one is that a token sees, on either side.

    Returns:
        As `attend`.
    """
    return attend_by_length(projected, batch.length_buckets(0), partial(_attend_alike, reach=reach))


def _attend_alike(projected: Tensor, group: MicroBatch, *, reach: int) -> Tensor:
    """Return (texts, heads, length, size) from (3, texts, heads, length, size)."""
    _, texts, heads, length, size = projected.shape
    attended = projected.new_empty(texts, heads, length, size)
    rows = min(length, WINDOW_ROWS)
    for part in parts_in_cache(texts, heads, rows * min(length, rows + 2 * reach)):
        some = projected[:, *part]
        attended[part] = _attend_at_once(torch.empty(some.shape).copy_(some), reach)
    return attended


def _attend_at_once(projected: Tensor, reach: int) -> Tensor:
    """Return (texts, heads, length, size) from (3, texts, heads, length, size) float32."""
    query, key, value = projected.flatten(1, 2)
    attended, length = torch.empty_like(query), query.shape[1]
    for first in range(0, length, WINDOW_ROWS):
        stop = min(first + WINDOW_ROWS, length)
        seen = slice(max(0, first - reach), min(length, stop + reach))
        width = seen.stop - seen.start
        scores = SCRATCH.get((len(query), stop - first, width), query.dtype)
        torch.bmm(query[:, first:stop], key[:, seen].transpose(1, 2), out=scores)
        softmax_in_place(scores, _hidden(stop - first, width, first - seen.start, reach))
        attended[:, first:stop] = torch.bmm(scores, value[:, seen])
    return attended.view(projected.shape[1:])


@lru_cache(maxsize=256)
def _hidden(rows: int, width: int, offset: int, reach: int) -> Tensor | None:
    """Return what is added to scores, (rows, width) float32; None where every token sees all.

    Args:
        rows: tokens that look.
        width: tokens that are looked at.
        offset: how far the first of those that look stands behind the first of these.
        reach: see `attend_in_window`.
    """
    distance = (torch.arange(rows)[:, None] + offset - torch.arange(width)).abs()
    is_hidden = distance > reach
    return torch.zeros(rows, width).masked_fill_(is_hidden, -torch.inf) if is_hidden.any() else None
