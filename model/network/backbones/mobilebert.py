"""MobileBERT's spelling: embeddings see their neighbours, and a layer is no `Block`."""

from typing import ClassVar

from torch import Tensor

from model.network.backbones.adapter import BackboneAdapter


class MobileBertAdapter(BackboneAdapter):
    """Layers are bottlenecks: they run by the model's own modules."""

    families: ClassVar[tuple[str, ...]] = ("mobilebert",)
    block_parts = ()

    def embed(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor:
        """See `BackboneAdapter`: a token's neighbours are embedded with it."""
        # Tokens see their neighbours here: a text's end shall see nothing, as it does alone, and no [PAD].
        words = self.base.embeddings.word_embeddings(input_ids)
        if attention_mask is not None:
            words = words * attention_mask[..., None]
        embedded: Tensor = self.base.embeddings(inputs_embeds=words, token_type_ids=token_type_ids)
        return embedded

    @property
    def attention_width(self) -> int:
        """See `BackboneAdapter`: that of the bottleneck."""
        return int(self.model.config.true_hidden_size)
