"""Self-attention over packed texts: every text sees itself only.

Queries come scaled. On a CPU, texts of nearly one length are attended to together, by the form that is
fastest for their length; elsewhere torch's variable-length attention takes all texts at once.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn

from model.packing import MicroBatch

# What is added to the scores of texts of a length, (heads, length, length), which of a shorter text are the
# first rows and columns; None for nothing.
Bias = Callable[[int], Tensor | None]

# Softmax over rows shorter than a vector register falls back to scalar code; exp does not.
_VECTOR = 16
# From here on torch's flash attention beats two float32 products and a softmax between them.
_FLASH_LENGTH = 96
# Tokens of padding that take as long as the operators of another group, and in formats of 16 bits as the
# kernels that oneDNN then compiles for its shapes.
_WORTH_A_GROUP = {torch.float32: 0, torch.bfloat16: 128, torch.float16: 128}
# Scores that are held at once: more than this leaves the cache, and its memory comes anew every time.
_SCORES = 1 << 19


def no_bias(length: int) -> None:
    """Add nothing."""


def attend(projected: Tensor, batch: MicroBatch, bias: Bias = no_bias) -> Tensor:
    """Return what every token gathers from its text.

    Args:
        projected: (tokens or more, 3, heads, size) queries, keys and values of a micro-batch.
        batch: its texts.
        bias: added to the scores, on a CPU only.

    Returns:
        (tokens or more, heads * size), in the dtype of `projected`; zeros behind the last token.
    """
    rows, _, heads, size = projected.shape
    if projected.is_cuda:
        query, key, value = projected.unbind(1)
        return _attend_varlen(query, key, value, batch, batch).view(rows, heads * size)
    attended = projected.new_empty(rows, heads * size)
    attended[batch.num_real_tokens :] = 0
    for group in batch.groups(_WORTH_A_GROUP[projected.dtype]):
        part = group.pad(projected[group.tokens]).permute(2, 0, 3, 1, 4)
        mask = _mask(group, bias)
        if group.width >= _FLASH_LENGTH and part.dtype is torch.float32:
            query, key, value = part
            found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)
        else:
            found = _products(part, mask)
        _put(attended, group, found.transpose(1, 2))
    return attended


def _put(packed: Tensor, group: MicroBatch, states: Tensor) -> None:
    """Write (texts, width, heads, size) where the group's tokens stand in (tokens, heads * size)."""
    part = packed[group.tokens]
    if group.is_padded:
        part.copy_(group.unpad(states).flatten(1))
    else:
        part.view(states.shape).copy_(states)


def _mask(group: MicroBatch, bias: Bias) -> Tensor | None:
    """Return what is added to a group's scores, (texts or 1, heads or 1, width or 1, width) float32."""
    added, padding = bias(group.width), group.padding(torch.device("cpu"))
    if padding is None:
        return None if added is None else added[None].float()
    hidden = torch.zeros(padding.shape).masked_fill_(~padding, -torch.inf)[:, None, None]
    return hidden if added is None else hidden + added.float()


def _products(projected: Tensor, mask: Tensor | None) -> Tensor:
    """Return (texts, heads, length, size) from (3, texts, heads, length, size)."""
    _, texts, heads, length, size = projected.shape
    step = max(1, _SCORES // (heads * length * length))
    attended = []
    for start in range(0, texts, step):
        part = slice(start, min(start + step, texts))
        count = part.stop - part.start
        # What is behind the texts is there only for their number to be one that was met before.
        room = projected.new_empty(3, _familiar(count, projected.dtype), heads, length, size)
        room[:, :count].copy_(projected[:, part])
        query, key, value = room.flatten(1, 2)
        scores = torch.bmm(query, key.transpose(1, 2))
        own = scores.view(-1, heads, length, length)[:count]
        _softmax_in_place(own, mask if mask is None or len(mask) == 1 else mask[part])
        attended.append(torch.bmm(scores, value).view(-1, heads, length, size)[:count])
    return attended[0] if len(attended) == 1 else torch.cat(attended)


def _softmax_in_place(scores: Tensor, mask: Tensor | None) -> None:
    """Replace `scores` by softmax(scores + mask) over the last axis, computed in float32."""
    exact = scores.float()
    if mask is not None:
        exact += mask
    if exact.shape[-1] < _VECTOR:
        exact.sub_(exact.amax(-1, keepdim=True)).exp_()
        exact.div_(exact.sum(-1, keepdim=True))
    else:
        torch.softmax(exact, -1, out=exact)
    if scores.dtype is not torch.float32:
        scores.copy_(exact)


def _familiar(count: int, dtype: torch.dtype) -> int:
    """Return a number of texts, `count` or a little more, for which there may be a kernel already.

    oneDNN, which multiplies formats of 16 bits, compiles one for every number of matrices that it meets.

    >>> [_familiar(count, torch.bfloat16) for count in (1, 7, 9, 33, 100)]
    [1, 7, 10, 40, 112]
    """
    if dtype is torch.float32:
        return count
    multiple = 1 << max(0, count.bit_length() - 3)
    return -(-count // multiple) * multiple


def attend_first(query: Tensor, projected: Tensor, batch: MicroBatch, bias: Bias = no_bias) -> Tensor:
    """Return what each text's first token gathers from its text.

    Args:
        query: (rows, heads, size) of the first tokens.
        projected: (tokens, 2, heads, size) keys and values.
        batch: its texts.
        bias: as in `attend`.

    Returns:
        (rows, heads * size), in the dtype of `projected`.
    """
    _, _, heads, size = projected.shape
    if projected.is_cuda:
        key, value = projected.unbind(1)
        return _attend_varlen(query, key, value, None, batch).view(-1, heads * size)
    attended = torch.empty_like(query)
    for group in batch.groups(_WORTH_A_GROUP[projected.dtype]):
        # One query a text leaves no product worth the name: sums over what lies in the cache.
        key, value = group.pad(projected[group.tokens]).unbind(2)
        scores = (key * query[group.rows, None]).sum(-1, dtype=torch.float32)
        mask = _mask(group, bias)
        if mask is not None:
            scores += mask[..., 0, :].transpose(-1, -2)
        weights = scores.softmax(1).to(value.dtype)
        torch.sum(value * weights[..., None], dim=1, out=attended[group.rows])
    return attended.view(-1, heads * size)


def _attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, queries: MicroBatch | None, keys: MicroBatch
) -> Tensor:
    """Attend by torch's variable-length attention; `queries` None: a query a text."""
    ends = torch.from_numpy(keys.ends).to(key.device, torch.int32, non_blocking=True)
    offsets = functional.pad(ends, (1, 0))
    ones = torch.arange(len(keys.lengths) + 1, dtype=torch.int32, device=key.device)
    attended: Any = varlen_attn(
        query,
        key,
        value,
        ones if queries is None else offsets,
        offsets,
        1 if queries is None else keys.width,
        keys.width,
        scale=1.0,
    )
    states: Tensor = attended
    return states
