"""MPNet's spelling: a bias by relative position is added to the attention scores of every layer."""

from typing import ClassVar

import torch
from torch import Tensor

from model.network.backbones.roberta import RobertaAdapter


class MPNetAdapter(RobertaAdapter):
    """Layers take a position bias besides the attention mask."""

    families: ClassVar[tuple[str, ...]] = ("mpnet",)
    has_token_types = False
    block_parts = (
        *("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        *("attention.attn.o", "attention.LayerNorm"),
        *("intermediate.dense", "intermediate.intermediate_act_fn", "output.dense", "output.LayerNorm"),
    )

    def layer_inputs(
        self, hidden: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """See `BackboneAdapter`: the position bias comes second."""
        return (
            *super().layer_inputs(hidden, attention_mask, token_type_ids),
            self.base.encoder.compute_position_bias(hidden),
        )

    def attention_bias(self, length: int) -> Tensor:
        """See `BackboneAdapter`: what depends on how far two tokens stand apart."""
        encoder = self.base.encoder
        # Read off a text of this length; only its length and its device count.
        text = torch.empty(1, length, 1, device=encoder.relative_attention_bias.weight.device)
        bias: Tensor = encoder.compute_position_bias(text)[0]
        return bias
