"""One adapter a Hugging Face family: how its sequence classifier is run a layer at a time.

An adapter holds no weights of its own. It says how a family spells four steps that
`AutoModelForSequenceClassification` runs in one: embed, a layer, what a layer needs besides the hidden
states, and the classifier at the end. Run in order they are that model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask

from model.errors import CheckpointError
from model.network.config import FastBertConfig


@dataclass(frozen=True, kw_only=True)
class Block:
    """The parts of a transformer block: attention, add and normalise, two linear layers, add and normalise.

    Each is the module that does it.
    """

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_output: nn.Linear
    attention_norm: nn.LayerNorm
    up: nn.Linear
    activation: Callable[[Tensor], Tensor]
    down: nn.Linear
    output_norm: nn.LayerNorm


class BackboneAdapter:
    """A sequence classifier, a layer at a time; the bert family's spelling, which most others share."""

    families: ClassVar[tuple[str, ...]] = ("bert", "ernie")
    has_token_types: ClassVar[bool] = True
    # Where a layer keeps the parts of a `Block`, in the order of its fields; none where it is no such block.
    block_parts: ClassVar[tuple[str, ...]] = (
        *("attention.self.query", "attention.self.key", "attention.self.value"),
        *("attention.output.dense", "attention.output.LayerNorm"),
        *("intermediate.dense", "intermediate.intermediate_act_fn", "output.dense", "output.LayerNorm"),
    )

    def __init__(self, model: PreTrainedModel) -> None:
        """Adapt `model`, an `AutoModelForSequenceClassification` of one of `families`."""
        self.model = model
        self.base: Any = model.base_model

    @property
    def layers(self) -> list[nn.Module]:
        """The layers in order; a shared layer stands as often as it is run."""
        return list(self.base.encoder.layer)

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None, padding: Tensor | None) -> Tensor:
        """Return the states that the first layer takes.

        Args:
            input_ids: (batch, length) integer.
            token_type_ids: (batch, length) integer, None where the tokenizer makes none.
            padding: (batch, length) bool, True at real tokens; None where no text is padded.

        Returns:
            (batch, length, hidden_size).
        """
        kinds = {"token_type_ids": token_type_ids} if self.has_token_types else {}
        embedded: Tensor = self.base.embeddings(input_ids=input_ids, **kinds)
        return embedded

    def layer_inputs(self, hidden: Tensor, padding: Tensor | None) -> tuple[Any, ...]:
        """Return what every layer takes besides the hidden states: the attention mask first.

        Args:
            hidden: (batch, length, hidden_size).
            padding: (batch, length) bool, True at real tokens; None where no text is padded.
        """
        if padding is None:
            return (None,)
        return (create_bidirectional_mask(self.model.config, hidden, padding),)

    def run_layer(self, index: int, hidden: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        """Return the states after layer `index` (from 0), of the shape of `hidden`."""
        output = self.layers[index](hidden, *inputs)
        states: Tensor = output[0] if isinstance(output, tuple) else output
        return states

    def blocks(self, index: int) -> list[Block]:
        """Return the transformer blocks of layer `index` (from 0); none if it is made otherwise."""
        return self._blocks_of(self.layers[index])

    def _blocks_of(self, layer: nn.Module) -> list[Block]:
        if not self.block_parts:
            return []
        parts: Iterator[Any] = map(layer.get_submodule, self.block_parts)
        names = (field.name for field in fields(Block))
        return [Block(**dict(zip(names, parts, strict=True)))]

    def attention_bias(self, length: int) -> Tensor | None:
        """Return what layers add to a text's attention scores, (heads, length, length); None for nothing."""
        return None

    def classify(self, hidden: Tensor) -> Tensor:
        """Return the checkpoint's own logits, (batch, num_labels), from the last layer's states.

        Args:
            hidden: (batch, length, hidden_size), of which only the first token is read.
        """
        classifier: Any = self.model.classifier
        logits: Tensor = classifier(self.base.pooler(hidden))
        return logits

    @property
    def embedding_modules(self) -> list[nn.Module]:
        """What `embed` runs, on every token."""
        return [self.base.embeddings]

    @property
    def attention_width(self) -> int:
        """Width of a layer's attention products: heads times the size of one, over all attentions in it."""
        return int(self.model.config.hidden_size)


class _UnpooledBackbone(BackboneAdapter):
    """Families whose classifier takes the sequence and picks the first token itself."""

    families: ClassVar[tuple[str, ...]] = ("roberta", "xlm-roberta", "camembert")

    def classify(self, hidden: Tensor) -> Tensor:
        classifier: Any = self.model.classifier
        logits: Tensor = classifier(hidden)
        return logits


class _ElectraBackbone(_UnpooledBackbone):
    families: ClassVar[tuple[str, ...]] = ("electra",)

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None, padding: Tensor | None) -> Tensor:
        embedded = super().embed(input_ids, token_type_ids, padding)
        for project in self.embedding_modules[1:]:
            embedded = project(embedded)
        return embedded

    @property
    def embedding_modules(self) -> list[nn.Module]:
        # The projection is there only where embeddings and layers differ in width.
        project = getattr(self.base, "embeddings_project", None)
        return [self.base.embeddings] if project is None else [self.base.embeddings, project]


class _DistilBertBackbone(BackboneAdapter):
    families: ClassVar[tuple[str, ...]] = ("distilbert",)
    has_token_types = False
    block_parts = (
        *("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm"),
        *("ffn.lin1", "ffn.activation", "ffn.lin2", "output_layer_norm"),
    )

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.base.transformer.layer)

    def classify(self, hidden: Tensor) -> Tensor:
        model: Any = self.model
        logits: Tensor = model.classifier(torch.relu(model.pre_classifier(hidden[:, 0])))
        return logits


class _MPNetBackbone(_UnpooledBackbone):
    families: ClassVar[tuple[str, ...]] = ("mpnet",)
    has_token_types = False
    block_parts = (
        *("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        *("attention.attn.o", "attention.LayerNorm"),
        *("intermediate.dense", "intermediate.intermediate_act_fn", "output.dense", "output.LayerNorm"),
    )

    def layer_inputs(self, hidden: Tensor, padding: Tensor | None) -> tuple[Any, ...]:
        return (*super().layer_inputs(hidden, padding), self.base.encoder.compute_position_bias(hidden))

    def attention_bias(self, length: int) -> Tensor:
        # Read off a text of this length; only its length counts.
        bias: Tensor = self.base.encoder.compute_position_bias(torch.empty(1, length, 1))[0]
        return bias


class _AlbertBackbone(BackboneAdapter):
    families: ClassVar[tuple[str, ...]] = ("albert",)
    block_parts = (
        *("attention.query", "attention.key", "attention.value", "attention.dense", "attention.LayerNorm"),
        *("ffn", "activation", "ffn_output", "full_layer_layer_norm"),
    )

    @property
    def layers(self) -> list[nn.Module]:
        config, groups = self.model.config, self.base.encoder.albert_layer_groups
        layers_a_group = config.num_hidden_layers / config.num_hidden_groups
        return [groups[int(index / layers_a_group)] for index in range(config.num_hidden_layers)]

    def blocks(self, index: int) -> list[Block]:
        group: Any = self.layers[index]
        return [block for layer in group.albert_layers for block in self._blocks_of(layer)]

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None, padding: Tensor | None) -> Tensor:
        embedded: Tensor = self.base.encoder.embedding_hidden_mapping_in(
            super().embed(input_ids, token_type_ids, padding)
        )
        return embedded

    @property
    def embedding_modules(self) -> list[nn.Module]:
        return [self.base.embeddings, self.base.encoder.embedding_hidden_mapping_in]

    @property
    def attention_width(self) -> int:
        return super().attention_width * int(self.model.config.inner_group_num)

    def classify(self, hidden: Tensor) -> Tensor:
        model: Any = self.model
        pooled = self.base.pooler_activation(self.base.pooler(hidden[:, 0]))
        logits: Tensor = model.classifier(pooled)
        return logits


class _MobileBertBackbone(BackboneAdapter):
    families: ClassVar[tuple[str, ...]] = ("mobilebert",)
    block_parts = ()

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None, padding: Tensor | None) -> Tensor:
        # Tokens see their neighbours here: a text's end shall see nothing, as it does alone, and no [PAD].
        words = self.base.embeddings.word_embeddings(input_ids)
        if padding is not None:
            words = words * padding[..., None]
        embedded: Tensor = self.base.embeddings(inputs_embeds=words, token_type_ids=token_type_ids)
        return embedded

    @property
    def attention_width(self) -> int:
        return int(self.model.config.true_hidden_size)


_ADAPTERS: dict[str, type[BackboneAdapter]] = {
    family: adapter
    for adapter in (
        BackboneAdapter,
        _UnpooledBackbone,
        _ElectraBackbone,
        _DistilBertBackbone,
        _MPNetBackbone,
        _AlbertBackbone,
        _MobileBertBackbone,
    )
    for family in adapter.families
}

SUPPORTED_FAMILIES = tuple(sorted(_ADAPTERS))


def adapter_for(model: PreTrainedModel) -> BackboneAdapter:
    """Return the adapter of `model`'s family.

    Raises:
        CheckpointError: if the family is not supported, or the model is a decoder.
    """
    family, name = model.config.model_type, model.name_or_path or "the model"
    if family == FastBertConfig.model_type:
        raise CheckpointError(f"{name!r} is a FastBERT already; give the classifier that it was made from")
    if family not in _ADAPTERS:
        known = ", ".join(SUPPORTED_FAMILIES)
        raise CheckpointError(
            f"{name!r} is of family {family!r}, which cannot exit early; supported are {known}"
        )
    if getattr(model.config, "is_decoder", False):
        raise CheckpointError(f"{name!r} is a decoder (is_decoder=true); only encoders can exit early")
    return _ADAPTERS[family](model)
