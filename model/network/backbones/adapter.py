"""One adapter per Hugging Face family: how its sequence classifier is run a layer at a time.

An adapter holds no weights of its own. It says how a family spells four steps that
`AutoModelForSequenceClassification` runs in one: embed, a layer, what a layer needs besides the hidden
states, and the classifier at the end. Run in order they are that model.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask

from model.network.backbones.linear_flops import linear_flops
from model.network.part_flops import TextFlops
from model.tokens.read_tokens import ReadTokens


class PackableBlock(Hashable, Protocol):
    """The parts of a block for which there is a packed one."""

    @property
    def skipped_when_last(self) -> TextFlops:
        """What a packed block leaves out in the last layer, where the classifier reads few tokens."""


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

    @property
    def skipped_when_last(self) -> TextFlops:
        """What is left out where only one token of each text is read: all but keys, values and its query."""
        linears = sum(map(linear_flops, (self.query, self.attention_output, self.up, self.down)))
        attention = 4 * self.query.out_features
        return TextFlops(per_pair=attention, per_token=linears - attention, per_text=-linears)


class BackboneAdapter:
    """A sequence classifier, a layer at a time; the bert family's spelling, which most others share."""

    families: ClassVar[tuple[str, ...]] = ("bert", "ernie")
    has_token_types: ClassVar[bool] = True
    # Whether every layer takes token types, and not the embeddings alone.
    layers_see_token_types: ClassVar[bool] = False
    # Whether layers end in a norm; else their states grow from layer to layer, and a branch normalises them.
    normalises_states: ClassVar[bool] = True
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

    @classmethod
    def refusal(cls, config: PretrainedConfig) -> str | None:
        """Return which setting of a model of this family cannot be run a layer at a time; None for none."""
        return None

    @classmethod
    def read_tokens(cls, config: PretrainedConfig) -> ReadTokens:
        """Return which tokens' states the classifier of such a model reads."""
        return ReadTokens.FIRST

    @property
    def layers(self) -> list[nn.Module]:
        """The layers in order; a shared layer stands as often as it is run."""
        return list(self.base.encoder.layer)

    def embed(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor:
        """Return the states that the first layer takes.

        Args:
            input_ids: (batch, length) integer.
            token_type_ids: (batch, length) integer, None where the tokenizer makes none.
            attention_mask: (batch, length) bool, True at real tokens; None where no text is padded.

        Returns:
            (batch, length, hidden_size).
        """
        token_types = {"token_type_ids": token_type_ids} if self.has_token_types else {}
        embedded: Tensor = self.base.embeddings(input_ids=input_ids, **token_types)
        return embedded

    def layer_inputs(
        self, hidden: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Return what every layer takes besides the hidden states: the attention mask first.

        Args:
            hidden: (batch, length, hidden_size).
            attention_mask: (batch, length) bool, True at real tokens; None where no text is padded.
            token_type_ids: (batch, length) int64, None unless `layers_see_token_types` and there are any.
        """
        if attention_mask is None:
            return (None,)
        return (create_bidirectional_mask(self.model.config, hidden, attention_mask),)

    def run_layer(self, index: int, hidden: Tensor, inputs: tuple[Tensor | None, ...]) -> Tensor:
        """Return the states after layer `index` (from 0), of the shape of `hidden`.

        After the last they are what the classifier reads: normalised, where a norm follows all layers.
        """
        output = self.layers[index](hidden, *inputs)
        states: Tensor = output[0] if isinstance(output, tuple) else output
        return states

    def blocks(self, index: int) -> Sequence[PackableBlock]:
        """Return the transformer blocks of layer `index` (from 0); none if it is made differently."""
        return self._blocks_of(self.layers[index])

    def _blocks_of(self, layer: nn.Module) -> list[Block]:
        return [Block(**self._parts_of(layer))] if self.block_parts else []

    def _parts_of(self, layer: nn.Module) -> dict[str, Any]:
        """Return the fields of a `Block`."""
        names = (field.name for field in fields(Block))
        return dict(zip(names, map(layer.get_submodule, self.block_parts), strict=True))

    def attention_bias(self, length: int) -> Tensor | None:
        """Return what layers add to a text's attention scores, (heads, length, length); None for nothing."""
        return None

    def classify(self, hidden: Tensor) -> Tensor:
        """Return the checkpoint's own logits, (batch, num_labels), from the last layer's states.

        Args:
            hidden: (batch, 1, hidden_size), of each text what `read_tokens` says.
        """
        classifier: nn.Module = self.model.classifier
        logits: Tensor = classifier(self.base.pooler(hidden))
        return logits

    @property
    def embedding_modules(self) -> list[nn.Module]:
        """What is run on every token once, whatever the number of layers: above all what `embed` runs."""
        return [self.base.embeddings]

    def layer_linears(self, index: int) -> int:
        """Return the FLOPs per token of the linear layers in layer `index` (from 0)."""
        return linear_flops(self.layers[index])

    def attention_reach(self, index: int) -> int | None:
        """Return how many tokens away the last one is that a token of layer `index` sees; None for all."""
        return None

    @property
    def attention_width(self) -> int:
        """Width of a layer's attention products: heads times the size of one, over all attentions in it."""
        return int(self.model.config.hidden_size)

    @property
    def attention_flops(self) -> TextFlops:
        """What a layer's attention products cost: scores and weighted sums, for all tokens."""
        return TextFlops(per_pair=4 * self.attention_width)

    @property
    def packed_attention_flops(self) -> TextFlops:
        """The same of packed blocks, where there are any, which may leave out what they need not compute."""
        return self.attention_flops
