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

    def layer_inputs(self, hidden: Tensor, attention_mask: Tensor | None) -> tuple[Tensor | None, ...]:
        """See `BackboneAdapter`: the position bias comes second."""
        return (
            *super().layer_inputs(hidden, attention_mask),
            self.base.encoder.compute_position_bias(hidden),
        )

    def attention_bias(self, length: int) -> Tensor:
        """See `BackboneAdapter`: what depends on how far two tokens stand apart."""
        # Read off a text of this length; only its length counts.
        bias: Tensor = self.base.encoder.compute_position_bias(torch.empty(1, length, 1))[0]
        return bias
