"""ModernBERT's spelling: norms before the parts of a layer, rotary positions, local and global attention."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.masking_utils import create_bidirectional_mask, create_bidirectional_sliding_window_mask

from model.network.backbones.adapter import BackboneAdapter
from model.tokens.read_tokens import ReadTokens

# The kinds of attention, in the order in which `layer_inputs` has what layers of a kind take.
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_KINDS = (_GLOBAL, _LOCAL)
# Frequencies that depend on how long the longest text of a batch is.
_BATCH_FREQUENCIES = ("dynamic", "longrope")


class ModernBertAdapter(BackboneAdapter):
    """Layers take a mask and rotations by their kind of attention; a norm follows the last of them."""

    families: ClassVar[tuple[str, ...]] = ("modernbert",)
    has_token_types = False
    normalises_states = False
    block_parts = ()

    @classmethod
    def refusal(cls, config: PretrainedConfig) -> str | None:
        """See `BackboneAdapter`: what a text's neighbours would change, and attention of other kinds."""
        if unknown := set(config.layer_types).difference(_KINDS):
            return (
                f"'layer_types' has {', '.join(sorted(map(repr, unknown)))}, not only {' and '.join(_KINDS)}"
            )
        kinds = {parameters["rope_type"] for parameters in config.rope_parameters.values() if parameters}
        if varying := kinds.intersection(_BATCH_FREQUENCIES):
            return f"positions of 'rope_type' {varying.pop()!r} depend on the other texts of a batch"
        return None

    @classmethod
    def read_tokens(cls, config: PretrainedConfig) -> ReadTokens:
        """See `BackboneAdapter`: the first token, or the mean of all."""
        return ReadTokens.ALL if config.classifier_pooling == "mean" else ReadTokens.FIRST

    @property
    def layers(self) -> list[nn.Module]:
        """See `BackboneAdapter`."""
        return list(self.base.layers)

    def embed(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor:
        """See `BackboneAdapter`."""
        embedded: Tensor = self.base.embeddings(input_ids=input_ids)
        return embedded

    def layer_inputs(
        self, hidden: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """See `BackboneAdapter`: mask, cosines and sines of global layers, then those of local ones."""
        config = self.model.config
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        inputs: list[Tensor | None] = []
        for kind, make_mask in zip(
            _KINDS, (create_bidirectional_mask, create_bidirectional_sliding_window_mask), strict=True
        ):
            if kind not in config.layer_types:
                inputs += [None, None, None]
                continue
            inputs.append(make_mask(config, hidden, attention_mask))
            inputs += self.base.rotary_emb(hidden, positions, kind)
        return tuple(inputs)

    def run_layer(self, index: int, hidden: Tensor, inputs: tuple[Tensor | None, ...]) -> Tensor:
        """See `BackboneAdapter`."""
        layer: Any = self.layers[index]
        first = 3 * _KINDS.index(layer.attention_type)
        mask, *rotations = inputs[first : first + 3]
        states: Tensor = layer(hidden, attention_mask=mask, position_embeddings=rotations)
        if index == len(self.base.layers) - 1:
            states = self.base.final_norm(states)
        return states

    def classify(self, hidden: Tensor) -> Tensor:
        """See `BackboneAdapter`."""
        model = self.model
        logits: Tensor = model.classifier(model.head(hidden[:, 0]))
        return logits
