"""ALBERT's spelling: groups of layers that share their weights, over narrow embeddings."""

from typing import Any, ClassVar

from torch import Tensor, nn

from model.network.backbones.adapter import BackboneAdapter, Block


class AlbertAdapter(BackboneAdapter):
    """A layer is a group, which may have several inner ones, and stands as often as it is run."""

    families: ClassVar[tuple[str, ...]] = ("albert",)
    block_parts = (
        *("attention.query", "attention.key", "attention.value", "attention.dense", "attention.LayerNorm"),
        *("ffn", "activation", "ffn_output", "full_layer_layer_norm"),
    )

    @property
    def layers(self) -> list[nn.Module]:
        """Groups, each standing as often as it is run."""
        config, groups = self.model.config, self.base.encoder.albert_layer_groups
        layers_per_group = config.num_hidden_layers / config.num_hidden_groups
        return [groups[int(index / layers_per_group)] for index in range(config.num_hidden_layers)]

    def blocks(self, index: int) -> list[Block]:
        """See `BackboneAdapter`: those of all inner layers of a group."""
        group: Any = self.layers[index]
        return [block for layer in group.albert_layers for block in self._blocks_of(layer)]

    def embed(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor:
        """See `BackboneAdapter`: mapped to the width of the layers."""
        embedded: Tensor = self.base.encoder.embedding_hidden_mapping_in(
            super().embed(input_ids, token_type_ids, attention_mask)
        )
        return embedded

    @property
    def embedding_modules(self) -> list[nn.Module]:
        """See `BackboneAdapter`."""
        return [self.base.embeddings, self.base.encoder.embedding_hidden_mapping_in]

    @property
    def attention_width(self) -> int:
        """See `BackboneAdapter`: over all inner layers."""
        return super().attention_width * int(self.model.config.inner_group_num)

    def classify(self, hidden: Tensor) -> Tensor:
        """See `BackboneAdapter`: the pooler takes the first token."""
        model = self.model
        pooled = self.base.pooler_activation(self.base.pooler(hidden[:, 0]))
        logits: Tensor = model.classifier(pooled)
        return logits
