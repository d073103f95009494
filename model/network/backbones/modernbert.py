"""ModernBERT's spelling: norms before the parts of a layer, rotary positions, local and global attention."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.masking_utils import create_bidirectional_mask, create_bidirectional_sliding_window_mask

from model.network.backbones.adapter import BackboneAdapter
from model.network.backbones.linear_flops import linear_flops
from model.network.part_flops import TextFlops
from model.tokens.read_tokens import ReadTokens

# The kinds of attention, in the order in which `layer_inputs` has what layers of a kind take.
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_KINDS = (_GLOBAL, _LOCAL)
# Frequencies that depend on how long the longest text of a batch is.
_BATCH_FREQUENCIES = ("dynamic", "longrope")


@dataclass(frozen=True, kw_only=True)
class PreNormBlock:
    """A block that normalises what its parts take: attention, add, a gated pair of linear layers, add.

    Attributes:
        attention_norm: none of the first layer, where embeddings are normalised.
        projections: queries, keys and values, one below the other.
        rotations: given a length, returns what queries and keys of its tokens are multiplied by, as complex
            numbers, (length, size / 2) complex64.
        reach: how many tokens away the last one is that a token sees; None for all.
        attention_output: a linear layer, as the next three.
        feed_norm: of what `up` takes.
        up: what the activation is of, and below it the gate.
        activation: of the first half of `up`.
        down: of the product of both.
        last_norm: of the states after the last layer.
        read: of which tokens the classifier reads the last states.
    """

    attention_norm: nn.Module
    projections: nn.Linear
    rotations: Callable[[int], Tensor]
    reach: int | None
    attention_output: nn.Linear
    feed_norm: nn.Module
    up: nn.Linear
    activation: Callable[[Tensor], Tensor]
    down: nn.Linear
    last_norm: nn.Module
    read: ReadTokens

    @property
    def skipped_when_last(self) -> TextFlops:
        """What is left out where only one token of each text is read: all but attention."""
        if self.read is ReadTokens.ALL:
            return TextFlops()
        linears = sum(map(linear_flops, (self.attention_output, self.up, self.down)))
        return TextFlops(per_token=linears, per_text=-linears)


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

    def attention_reach(self, index: int) -> int | None:
        """See `BackboneAdapter`."""
        is_local = self.base.layers[index].attention_type == _LOCAL
        return int(self.model.config.sliding_window) if is_local else None

    def blocks(self, index: int) -> Sequence[PreNormBlock]:
        """See `BackboneAdapter`."""
        layer, config = self.base.layers[index], self.model.config
        return [
            PreNormBlock(
                attention_norm=layer.attn_norm,
                projections=layer.attn.Wqkv,
                rotations=partial(self._rotations, layer.attention_type),
                reach=self.attention_reach(index),
                attention_output=layer.attn.Wo,
                feed_norm=layer.mlp_norm,
                up=layer.mlp.Wi,
                activation=layer.mlp.act,
                down=layer.mlp.Wo,
                last_norm=self.base.final_norm,
                read=self.read_tokens(config),
            )
        ]

    def _rotations(self, kind: str, length: int) -> Tensor:
        """See `PreNormBlock`."""
        positions = torch.arange(length, device=self.model.device)[None]
        # Whatever the model's dtype.
        of_float32 = torch.empty(1, device=positions.device)
        cosine, sine = self.base.rotary_emb(of_float32, positions, kind)
        # Both halves of a head are rotated alike.
        half = cosine.shape[-1] // 2
        return torch.complex(cosine[0, :, :half].contiguous(), sine[0, :, :half].contiguous())

    def classify(self, hidden: Tensor) -> Tensor:
        """See `BackboneAdapter`."""
        model = self.model
        logits: Tensor = model.classifier(model.head(hidden[:, 0]))
        return logits
