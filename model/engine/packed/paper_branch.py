"""The paper's branch over packed texts, its linear layers folded into as few as there can be."""

import torch
from torch import Tensor, nn

from model.engine.fused_linear import LinearType
from model.network.branches.paper import PaperBranch
from model.tokens.packing import MicroBatch


class PackedPaperBranch:
    """A `PaperBranch` made ready: the same answers from five products.

    Between query and key layer, and between value layer and attention output, stands nothing that is not
    linear: each pair is one matrix per head.
    """

    @torch.no_grad()
    def __init__(self, branch: PaperBranch, linear: LinearType) -> None:
        """Fold and make ready what `branch` consists of, on its device and in its dtype."""
        heads, width = branch.num_heads, branch.query.in_features
        # In float64, so that folding rounds once and equal branches are equal to the bit.
        dtype = branch.query.weight.dtype

        def by_head(layer: nn.Linear) -> Tensor:
            return layer.weight.double().view(heads, -1, width)

        scale = (width // heads) ** -0.5
        query_bias = branch.query.bias.double().view(heads, -1)
        query_weight = torch.einsum("hdw,hdv->hwv", by_head(branch.key), by_head(branch.query)) * scale
        folded_bias = torch.einsum("hdw,hd->hw", by_head(branch.key), query_bias) * scale
        output = branch.attention_output.weight.double()
        output_by_head = output.view(width, heads, -1)
        output_weight = torch.einsum("ohd,hdw->ohw", output_by_head, by_head(branch.value))
        output_bias = output @ branch.value.bias.double() + branch.attention_output.bias.double()

        self._heads, self._reading = heads, branch.reading
        self._narrow = linear(branch.narrow.weight, branch.narrow.bias, nn.Tanh())
        self._project_query = linear(query_weight.flatten(0, 1).to(dtype), folded_bias.flatten().to(dtype))
        self._attention_output = linear(output_weight.flatten(1).to(dtype), output_bias.to(dtype))
        self._dense = linear(branch.dense.weight, branch.dense.bias, nn.Tanh())
        self._classifier = linear(branch.classifier.weight, branch.classifier.bias)

    def attend(self, states: Tensor, batch: MicroBatch) -> Tensor:
        """Return what every head sees of its text, (rows, heads * width); see `PaperBranch.attend`.

        Args:
            states: (tokens or more, hidden_size) of the micro-batch, contiguous.
            batch: its texts.
        """
        narrow = self._narrow(self._reading.prepared(states))[: batch.num_real_tokens]
        token = narrow.index_select(0, self._reading.tokens.standing(batch, narrow.device))
        query = self._project_query(token).view(len(token), self._heads, -1)
        # In float32: for products as small as these a format of 16 bits pays on no device.
        padded = batch.pad(narrow.float())
        context = PaperBranch.attend(query.float(), padded, batch.attention_mask(narrow.device))
        return context.flatten(1).to(states.dtype)

    def classify(self, context: Tensor) -> Tensor:
        """Return (rows, num_outputs) float32 logits from what `attend` returned."""
        return self._classifier(self._dense(self._attention_output(context))).float()
