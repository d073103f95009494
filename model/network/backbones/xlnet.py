"""XLNet's spelling: scores by content, distance and segment, and a last token that classifies."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig

from model.network.backbones.adapter import BackboneAdapter
from model.network.part_flops import TextFlops
from model.tokens.read_tokens import ReadTokens


class XLNetAdapter(BackboneAdapter):
    """Layers take a mask, distances, and which tokens are of one segment; a text's last token classifies.

    Its tokenizer pads on the left, and texts are padded on the right here: layers see how far two tokens
    stand apart, and not where.
    """

    families: ClassVar[tuple[str, ...]] = ("xlnet",)
    layers_see_token_types = True
    block_parts = ()

    @classmethod
    def refusal(cls, config: PretrainedConfig) -> str | None:
        """See `BackboneAdapter`: what is for pretraining, and what reads padding or makes no network."""
        if config.attn_type != "bi":
            return f"'attn_type' is {config.attn_type!r}, and only 'bi' is run"
        if config.bi_data:
            return "'bi_data' reads one half of a batch backwards"
        if config.summary_type != "last":
            return f"'summary_type' is {config.summary_type!r}, and only the 'last' token classifies"
        if config.summary_use_proj and getattr(config, "summary_proj_to_labels", False):
            return "'summary_proj_to_labels' makes labels of which labels are made again"
        return None

    @classmethod
    def read_tokens(cls, config: PretrainedConfig) -> ReadTokens:
        """See `BackboneAdapter`."""
        return ReadTokens.LAST

    @property
    def layers(self) -> list[nn.Module]:
        """See `BackboneAdapter`."""
        return list(self.base.layer)

    def embed(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor:
        """See `BackboneAdapter`: words alone."""
        embedded: Tensor = self.base.word_embedding(input_ids)
        return embedded

    def layer_inputs(
        self, hidden: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """See `BackboneAdapter`: what is not seen, distances, and whether segments are others, as numbers.

        They are (length, length, batch, 1), (2 * length, 1, hidden_size), (length, length, batch, 2).
        """
        length = hidden.shape[1]
        unseen = segments = None
        if attention_mask is not None:
            # A token sees itself, padding too: else it would see all alike.
            others = ~torch.eye(length, dtype=torch.bool, device=hidden.device)
            unseen = (others[:, :, None] & ~attention_mask.T)[..., None].to(hidden.dtype)
        if token_type_ids is not None:
            types = token_type_ids.T
            is_other = (types[:, None] != types[None]).long()
            segments = functional.one_hot(is_other, num_classes=2).to(hidden.dtype)
        # Of one text for all, which have the same.
        distances = self.base.relative_positional_encoding(length, length, bsz=1, device=hidden.device)
        return unseen, distances, segments

    def run_layer(self, index: int, hidden: Tensor, inputs: tuple[Tensor | None, ...]) -> Tensor:
        """See `BackboneAdapter`; inside, texts stand beside each other."""
        unseen, distances, segments = inputs
        layer: Any = self.layers[index]
        states: Tensor = layer(
            hidden.transpose(0, 1), None, attn_mask_h=unseen, attn_mask_g=None, r=distances, seg_mat=segments
        )[0]
        return states.transpose(0, 1)

    def classify(self, hidden: Tensor) -> Tensor:
        """See `BackboneAdapter`."""
        model = self.model
        logits: Tensor = model.logits_proj(model.sequence_summary(hidden))
        return logits

    @property
    def embedding_modules(self) -> list[nn.Module]:
        """See `BackboneAdapter`."""
        return [self.base.word_embedding]

    def layer_linears(self, index: int) -> int:
        """See `BackboneAdapter`: queries, keys, values and their output are parameters, no linear layers."""
        attention: Any = self.layers[index].rel_attn
        projections: list[Tensor] = [attention.q, attention.k, attention.v, attention.o]
        return super().layer_linears(index) + sum(2 * weights.numel() for weights in projections)

    @property
    def attention_flops(self) -> TextFlops:
        """See `BackboneAdapter`: twice as many distances as tokens are projected, and each token meets all.

        Segments are left out, which most tokenizers of the family do not tell: below a hundredth of it all.
        """
        attention: Any = self.layers[0].rel_attn
        return super().attention_flops + TextFlops(
            per_pair=2 * 2 * self.attention_width, per_token=2 * 2 * attention.r.numel()
        )
