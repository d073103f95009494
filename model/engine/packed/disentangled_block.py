"""DeBERTa's block over packed texts: as others are, but for its attention."""

from torch import Tensor, nn
from torch.nn import functional

from model.engine.fused_linear import LinearType
from model.engine.packed.attention import Bias, no_bias, query_scale
from model.engine.packed.block import PackedBlock
from model.engine.packed.disentangled_attention import DisentangledAttention
from model.network.backbones.adapter import Block
from model.network.backbones.deberta import DisentangledBlock
from model.tokens.packing import MicroBatch


class PackedDisentangledBlock(PackedBlock):
    """One block; see `PackedBlock`."""

    def __init__(self, block: DisentangledBlock, *, num_heads: int, linear: LinearType) -> None:
        """See `PackedBlock`."""
        super().__init__(block, num_heads=num_heads, linear=linear)
        queries = _of_distances(block, block.distance_query, num_heads)
        self._attend = DisentangledAttention(
            _of_distances(block, block.distance_key, num_heads),
            None if queries is None else queries * self._query_scale,
            block.distance_rows,
        )

    def _scale_queries(self, block: Block, num_heads: int) -> float:
        assert isinstance(block, DisentangledBlock)
        num_products = 1 + sum(each is not None for each in (block.distance_key, block.distance_query))
        return query_scale(block.query.out_features // num_heads * num_products)

    def __call__(self, states: Tensor, batch: MicroBatch, bias: Bias = no_bias) -> Tensor:
        """See `PackedBlock`; nothing else is added to the scores."""
        return self._feed(self._gather(states, batch), states)

    def _gather(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return what every token gathers from its text."""
        return self._attend(self._projections(states).view(len(states), 3, self._num_heads, -1), batch)


class LastPackedDisentangledBlock(PackedDisentangledBlock):
    """The last block of all: a classifier reads its first token only, so no other token is finished."""

    def __call__(self, states: Tensor, batch: MicroBatch, bias: Bias = no_bias) -> Tensor:
        """Return the states of the first tokens only, (rows, hidden_size)."""
        first = batch.first_tokens(states.device)
        attended = self._gather(states, batch)
        return self._feed(attended.index_select(0, first), states.index_select(0, first))


def _of_distances(block: DisentangledBlock, layer: nn.Linear | None, num_heads: int) -> Tensor | None:
    """Return what `layer` makes of the embeddings of distances, (heads, distances, size) float32."""
    if layer is None:
        return None
    # In float32, as the scores are computed in.
    embeddings, weight, bias = block.distance_embeddings(), layer.weight, layer.bias
    projected = functional.linear(embeddings.float(), weight.float(), bias.float())
    return projected.view(len(projected), num_heads, -1).transpose(0, 1).contiguous()
