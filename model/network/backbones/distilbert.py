"""DistilBERT's spelling: no token types, and a classifier of two layers without a pooler."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from model.network.backbones.adapter import BackboneAdapter


class DistilBertAdapter(BackboneAdapter):
    """Layers and their parts have other names, and the classifier is of two layers."""

    families: ClassVar[tuple[str, ...]] = ("distilbert",)
    has_token_types = False
    block_parts = (
        *("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm"),
        *("ffn.lin1", "ffn.activation", "ffn.lin2", "output_layer_norm"),
    )

    @property
    def layers(self) -> list[nn.Module]:
        """See `BackboneAdapter`."""
        return list(self.base.transformer.layer)

    def classify(self, hidden: Tensor) -> Tensor:
        """See `BackboneAdapter`."""
        model = self.model
        logits: Tensor = model.classifier(torch.relu(model.pre_classifier(hidden[:, 0])))
        return logits
