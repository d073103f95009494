"""DeBERTa, versions 2 and 3: scores by content and by distance, and a convolution in the largest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.activations import ACT2FN

from model.network.backbones.adapter import BackboneAdapter, Block
from model.network.backbones.linear_flops import linear_flops
from model.network.part_flops import TextFlops

_POSITION_TYPES = ("c2p", "p2c")


@dataclass(frozen=True, kw_only=True)
class DisentangledBlock(Block):
    """A block whose attention looks at distances too.

    Attributes:
        distance_key: what makes the keys of distances of their embeddings; None where queries meet none.
        distance_query: likewise their queries; None where keys meet none.
        distance_embeddings: returns the embeddings, (distances, hidden_size).
        distance_rows: given a length, returns which embedding is of how far a token stands behind another,
            (2 * length - 1,), from `length - 1` down to `1 - length`.
    """

    distance_key: nn.Linear | None
    distance_query: nn.Linear | None
    distance_embeddings: Callable[[], Tensor]
    distance_rows: Callable[[int], Tensor]

    @property
    def skipped_when_last(self) -> TextFlops:
        """See `Block`: attention is not left out."""
        linears = sum(map(linear_flops, (self.attention_output, self.up, self.down)))
        return TextFlops(per_token=linears, per_text=-linears)


class DebertaAdapter(BackboneAdapter):
    """Layers take distances between tokens and their embeddings; a convolution may follow the first layer."""

    families: ClassVar[tuple[str, ...]] = ("deberta-v2",)
    block_parts = (
        *("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"),
        *("attention.output.dense", "attention.output.LayerNorm"),
        *("intermediate.dense", "intermediate.intermediate_act_fn", "output.dense", "output.LayerNorm"),
    )

    @classmethod
    def refusal(cls, config: PretrainedConfig) -> str | None:
        """See `BackboneAdapter`: what transformers makes a network of that then fails, or ignores."""
        if unknown := set(config.pos_att_type or ()).difference(_POSITION_TYPES):
            return f"'pos_att_type' has {', '.join(sorted(map(repr, unknown)))}, and only c2p and p2c are run"
        head_size = getattr(config, "attention_head_size", None)
        if head_size not in (None, config.hidden_size // config.num_attention_heads):
            return f"'attention_head_size' {head_size} times the heads is not 'hidden_size'"
        if config.pooler_hidden_size != config.hidden_size:
            return f"'pooler_hidden_size' {config.pooler_hidden_size} is not 'hidden_size'"
        kernel_size = getattr(config, "conv_kernel_size", 0)
        if kernel_size > 0 and kernel_size % 2 == 0:
            return f"'conv_kernel_size' {kernel_size} is even, which leaves a token out"
        if getattr(config, "conv_act", "tanh") not in ACT2FN:
            return f"'conv_act' {config.conv_act!r} is no activation"
        return None

    def embed(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor:
        """See `BackboneAdapter`; what a text's first convolution sees behind its end is nothing."""
        embedded: Tensor = self.base.embeddings(
            input_ids=input_ids, token_type_ids=token_type_ids, mask=attention_mask
        )
        return embedded

    def layer_inputs(
        self, hidden: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """See `BackboneAdapter`: which tokens are real, distances, the embeddings of distances."""
        encoder: Any = self.base.encoder
        if attention_mask is None:
            attention_mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        return attention_mask, encoder.get_rel_pos(hidden), encoder.get_rel_embedding()

    def run_layer(self, index: int, hidden: Tensor, inputs: tuple[Tensor | None, ...]) -> Tensor:
        """See `BackboneAdapter`: the convolution follows the first layer, which takes the embeddings."""
        is_real, distances, distance_embeddings = inputs
        assert is_real is not None
        encoder: Any = self.base.encoder
        mask = encoder.get_attention_mask(is_real)
        states: Tensor = encoder.layer[index](hidden, mask, None, distances, distance_embeddings)[0]
        if index == 0 and encoder.conv is not None:
            is_real = is_real.to(hidden.dtype)
            states = encoder.conv(hidden * is_real[..., None], states, is_real)
        return states

    def blocks(self, index: int) -> Sequence[DisentangledBlock]:
        """See `BackboneAdapter`: none where layers look at no distances, or there is a convolution."""
        attention: Any = self.layers[index].get_submodule("attention.self")
        if not attention.relative_attention or self.base.encoder.conv is not None:
            return []
        key, query = (
            ("key_proj", "query_proj") if attention.share_att_key else ("pos_key_proj", "pos_query_proj")
        )
        return [
            DisentangledBlock(
                **self._parts_of(self.layers[index]),
                distance_key=getattr(attention, key) if "c2p" in attention.pos_att_type else None,
                distance_query=getattr(attention, query) if "p2c" in attention.pos_att_type else None,
                distance_embeddings=self.base.encoder.get_rel_embedding,
                distance_rows=self._distance_rows,
            )
        ]

    def _distance_rows(self, length: int) -> Tensor:
        """See `DisentangledBlock`."""
        encoder, span = self.base.encoder, self._relative.pos_ebd_size
        # Read off a text of this length; only its length and its device count.
        tokens = torch.empty(1, length, 1, device=encoder.rel_embeddings.weight.device)
        behind_first = encoder.get_rel_pos(tokens[:, :1], tokens)[0, :, 0]
        behind = torch.cat([behind_first.flip(0), -behind_first[1:]])
        rows: Tensor = (behind + span).clamp(0, 2 * span - 1)
        return rows

    def classify(self, hidden: Tensor) -> Tensor:
        """See `BackboneAdapter`: the pooler is the classifier's own."""
        model = self.model
        logits: Tensor = model.classifier(model.pooler(hidden))
        return logits

    @property
    def embedding_modules(self) -> list[nn.Module]:
        """See `BackboneAdapter`: the convolution among them."""
        conv = self.base.encoder.conv
        return [self.base.embeddings] if conv is None else [self.base.embeddings, conv]

    def layer_linears(self, index: int) -> int:
        """See `BackboneAdapter`: without the projections of distances, which see no token."""
        return super().layer_linears(index) - self._distance_linears

    @property
    def attention_flops(self) -> TextFlops:
        """See `BackboneAdapter`: every token with every distance, and what is made of the distances."""
        attention, relative = super().attention_flops, self._relative
        if not relative:
            return attention
        config = self.model.config
        num_types = len(set(config.pos_att_type or ()))
        num_distances = 2 * relative.pos_ebd_size
        projections = 4 * config.hidden_size**2 if relative.share_att_key else self._distance_linears
        return attention + TextFlops(
            per_token=2 * self.attention_width * num_distances * num_types,
            per_text=num_distances * projections,
        )

    @property
    def packed_attention_flops(self) -> TextFlops:
        """See `BackboneAdapter`: distances are projected once, and those that a text has are met only.

        Of texts of more than some hundred tokens fewer are met than are counted here.
        """
        attention = super().attention_flops
        if not self.blocks(0):
            return self.attention_flops
        per_distance = 2 * self.attention_width * len(set(self.model.config.pos_att_type or ()))
        return attention + TextFlops(per_pair=2 * per_distance, per_token=-per_distance)

    @property
    def _relative(self) -> Any:
        """The first layer's attention where it looks at distances; None where it does not."""
        attention: Any = self.base.encoder.layer[0].attention.self
        return attention if attention.relative_attention else None

    @property
    def _distance_linears(self) -> int:
        relative = self._relative
        if not relative or relative.share_att_key:
            return 0
        return 2 * int(self.model.config.hidden_size) ** 2 * len(set(relative.pos_att_type))
