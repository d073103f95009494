"""Self-attention over packed texts: every text sees itself only.

Scores are logarithms to base 2, since torch computes 2**x in a quarter of the time of e**x: queries come
multiplied by `query_scale`. On a CPU, texts of nearly one length are attended to together; elsewhere torch's
variable-length attention takes all texts at once.
"""

import math
import threading
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from model.tokens.packing import MicroBatch

# What is added to the scores of texts of a length, (heads, length, length), in the softmax's own logarithms,
# of which a shorter text's are the first rows and columns; None for nothing.
Bias = Callable[[int], Tensor | None]

# Each of the next two was chosen by the time that it took on two cores of an EPYC; elsewhere another may be
# faster, and neither changes more than the last bits.
# Tokens of padding that take as long as the operators of another group, and in formats of 16 bits as the
# kernels that oneDNN then compiles for its shapes: measured there in each format.
_MAX_BUCKET_PADDING = {torch.float32: 0, torch.bfloat16: 128, torch.float16: 128}
# Scores that are held at once, 2 MiB of float32: more than this leaves the cache, measured there likewise.
_MAX_SCORES_IN_CACHE = 1 << 19


def query_scale(size: int) -> float:
    """Return what queries of heads of `size` are multiplied by."""
    return math.log2(math.e) / math.sqrt(size)


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
    return attend_by_length(
        projected,
        batch.length_buckets(_MAX_BUCKET_PADDING[projected.dtype]),
        lambda part, group: _attend_alike(part, _mask(group, bias)),
    )


def attend_by_length(
    projected: Tensor, groups: list[MicroBatch], attend_alike: Callable[[Tensor, MicroBatch], Tensor]
) -> Tensor:
    """Return what every token gathers from its text, texts of nearly one length attended to together.

    Args:
        projected: (tokens or more, 3, heads, size) of a micro-batch.
        groups: its texts by length, see `MicroBatch.length_buckets`.
        attend_alike: given (3, texts, heads, width, size) and the group, returns (texts, heads, width, size).

    Returns:
        As `attend`.
    """
    rows, _, heads, size = projected.shape
    attended = projected.new_empty(rows, heads * size)
    attended[groups[-1].token_slice.stop :] = 0
    for group in groups:
        part = group.pad(projected[group.token_slice]).permute(2, 0, 3, 1, 4)
        _scatter(attended, group, attend_alike(part, group).transpose(1, 2))
    return attended


def _scatter(packed: Tensor, group: MicroBatch, states: Tensor) -> None:
    """Write (texts, width, heads, size) where the group's tokens stand in (tokens, heads * size)."""
    part = packed[group.token_slice]
    if group.is_padded:
        part.copy_(group.unpad(states).flatten(1))
    else:
        part.view(states.shape).copy_(states)


def _mask(group: MicroBatch, bias: Bias) -> Tensor | None:
    """Return what is added to a group's scores, (texts, heads or 1, width or 1, width) float32."""
    added, attention_mask = bias(group.max_seqlen), group.attention_mask(torch.device("cpu"))
    if added is not None:
        added = added.float() * math.log2(math.e)
    if attention_mask is None:
        return None if added is None else added.expand(len(group.lengths), *added.shape)
    hidden = torch.zeros(attention_mask.shape).masked_fill_(~attention_mask, -torch.inf)[:, None, None]
    return hidden if added is None else hidden + added


def _attend_alike(projected: Tensor, mask: Tensor | None) -> Tensor:
    """Attend in texts of one width.

    Args:
        projected: (3, texts, heads, length, size).
        mask: see `_mask`.

    Returns:
        (texts, heads, length, size).
    """
    _, texts, heads, length, size = projected.shape
    attended = projected.new_empty(texts, heads, length, size)
    # Products of fewer take longer in formats of 16 bits than what leaves the cache.
    at_least = 1 if projected.dtype is torch.float32 else heads
    for part in parts_in_cache(texts, heads, length**2, at_least=at_least):
        added = None if mask is None else mask.expand(-1, heads, -1, -1)[part]
        attended[part] = _attend_at_once(projected[:, *part], added)
    return attended


def parts_in_cache(
    texts: int, heads: int, num_scores: int, *, at_least: int = 1
) -> Iterator[tuple[slice, slice]]:
    """Yield texts and heads whose scores stay in the cache: those of whole texts, or some of one text.

    Args:
        texts: how many, of one length.
        heads: of each.
        num_scores: of a text and head.
        at_least: heads in all that are taken together, whether they stay or not.
    """
    at_once = max(at_least, _MAX_SCORES_IN_CACHE // num_scores)
    num_texts = max(1, at_once // heads)
    num_heads = -(-heads // -(-heads // at_once))  # as many at a time
    for text in range(0, texts, num_texts):
        for head in range(0, heads, num_heads):
            yield slice(text, min(text + num_texts, texts)), slice(head, min(head + num_heads, heads))


def _attend_at_once(projected: Tensor, mask: Tensor | None) -> Tensor:
    """Return (texts, heads, length, size) from (3, texts, heads, length, size), all multiplied at once."""
    _, texts, heads, length, size = projected.shape
    # What is behind the texts is there only for their number to be one that was met before.
    rounded = _round_up_batch_count(texts, projected.dtype)
    buffer = projected.new_empty(3, rounded, heads, length, size)
    buffer[:, :texts].copy_(projected)
    query, key, value = buffer.flatten(1, 2)
    scores = SCRATCH.get((len(query), length, length), projected.dtype)
    torch.bmm(query, key.transpose(1, 2), out=scores)
    softmax_in_place(scores.unflatten(0, (-1, heads))[:texts], mask)
    attended: Tensor = torch.bmm(scores, value).unflatten(0, (-1, heads))[:texts]
    return attended


def softmax_in_place(scores: Tensor, mask: Tensor | None) -> None:
    """Replace `scores` by softmax(scores + mask) over the last axis, to base 2, computed in float32."""
    exact = scores
    if scores.dtype is not torch.float32:
        exact = SCRATCH.get(tuple(scores.shape), torch.float32).copy_(scores)
    if mask is not None:
        exact += mask
    exact.sub_(exact.amax(-1, keepdim=True)).exp2_()
    exact.div_(exact.sum(-1, keepdim=True))
    if exact is not scores:
        scores.copy_(exact)


class ScratchBuffers(threading.local):
    """Memory of each thread's own that is taken again and again: new memory costs as much as a product."""

    def __init__(self) -> None:
        self._buffers: dict[torch.dtype, Tensor] = {}

    def get(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory that nobody else uses until the next call for `dtype`, with anything in it."""
        size = math.prod(shape)
        if dtype not in self._buffers or len(self._buffers[dtype]) < size:
            # What is made in inference mode could not be written to outside of it.
            with torch.inference_mode(False):
                self._buffers[dtype] = torch.empty(size, dtype=dtype)
        return self._buffers[dtype][:size].view(shape)


SCRATCH = ScratchBuffers()


def _round_up_batch_count(count: int, dtype: torch.dtype) -> int:
    """Return a number of texts, `count` or a little more, for which there may be a kernel already.

    oneDNN, which multiplies formats of 16 bits, compiles one for every number of matrices that it meets.

    >>> [_round_up_batch_count(count, torch.bfloat16) for count in (1, 7, 9, 33, 100)]
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
    for group in batch.length_buckets(_MAX_BUCKET_PADDING[projected.dtype]):
        # One query per text leaves no product worth the name: sums over what lies in the cache.
        key, value = group.pad(projected[group.token_slice]).unbind(2)
        scores = (key * query[group.text_slice, None]).sum(-1, dtype=torch.float32)
        mask = _mask(group, bias)
        if mask is not None:
            scores += mask[..., 0, :].transpose(-1, -2)
        weights = (scores * math.log(2)).softmax(1).to(value.dtype)
        torch.sum(value * weights[..., None], dim=1, out=attended[group.text_slice])
    return attended.view(-1, heads * size)


def _attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, queries: MicroBatch | None, keys: MicroBatch
) -> Tensor:
    """Attend by torch's variable-length attention; `queries` None: one query per text."""
    offsets = torch.from_numpy(keys.cu_seqlens).to(key.device, torch.int32, non_blocking=True)
    ones = torch.arange(len(keys.lengths) + 1, dtype=torch.int32, device=key.device)
    attended = varlen_attn(
        query,
        key,
        value,
        ones if queries is None else offsets,
        offsets,
        1 if queries is None else keys.max_seqlen,
        keys.max_seqlen,
        scale=math.log(2),
    )
    assert isinstance(attended, Tensor), "log-sum-exps come beside it only if they are asked for"
    return attended
