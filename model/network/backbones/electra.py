"""ELECTRA's spelling: embeddings may be narrower than the layers, the classifier is RoBERTa's."""

from typing import ClassVar

from torch import Tensor, nn

from model.network.backbones.roberta import RobertaAdapter


class ElectraAdapter(RobertaAdapter):
    """A projection may follow the embeddings."""

    families: ClassVar[tuple[str, ...]] = ("electra",)

    def embed(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor:
        """See `BackboneAdapter`: projected to the width of the layers."""
        embedded = super().embed(input_ids, token_type_ids, attention_mask)
        for project in self.embedding_modules[1:]:
            embedded = project(embedded)
        return embedded

    @property
    def embedding_modules(self) -> list[nn.Module]:
        """See `BackboneAdapter`."""
        # The projection is there only where embeddings and layers differ in width.
        project = getattr(self.base, "embeddings_project", None)
        return [self.base.embeddings] if project is None else [self.base.embeddings, project]
