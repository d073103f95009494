"""The roberta family's spelling: the classifier takes the sequence and picks the first token itself."""

from typing import ClassVar

from torch import Tensor, nn

from model.network.backbones.adapter import BackboneAdapter


class RobertaAdapter(BackboneAdapter):
    """Families whose classifier takes the sequence and picks the first token itself."""

    families: ClassVar[tuple[str, ...]] = ("roberta", "xlm-roberta", "camembert")

    def classify(self, hidden: Tensor) -> Tensor:
        """See `BackboneAdapter`: no pooler stands before the classifier."""
        classifier: nn.Module = self.model.classifier
        logits: Tensor = classifier(hidden)
        return logits
