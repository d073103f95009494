"""Floating-point operations, from a configuration: the paper's count and the actual one.

Both count 2 FLOPs per multiply-add. The paper (Liu et al. 2020, Tables 1 and 2) counts the linear layers of a
text padded to 128 tokens, with a teacher of the branch's shape, and leaves out the attention products and
the last N-way layer. The actual count adds both, takes each text's real length and the model's own head, and
all of it as it is run here: of the last layer only what its first token needs; of a branch what its design
says, and nothing where nothing may leave.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForSequenceClassification, PretrainedConfig

from model.checkpoints.foreign import foreign
from model.cost.exit_cost import cost_of_exits
from model.exits.policy import ExitPolicy
from model.network.backbones.adapter import BackboneAdapter
from model.network.backbones.registry import adapter_for
from model.network.backbones.text_flops import TextFlops, linear_flops
from model.network.branch_design import BRANCH_SIZES, BranchDesign
from model.network.branches.branch import Branch, BranchFlops
from model.network.branches.paper import paper_count
from model.network.branches.registry import make_branch
from model.network.config import FastBertConfig, load_fastbert_config
from model.network.lexical_branch import LexicalBranch, make_lexical_branch
from model.tokens.packing import Lengths

PAPER_LENGTH = 128
Flops = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FlopsModel:
    """What the two counts need to know of a model; see `flops_model`.

    Attributes:
        hidden_size: width of the hidden states that a branch reads.
        layer_linears: (num_layers,) FLOPs of a layer's linear layers, per token.
        attention: of a layer's attention products, for all tokens.
        skipped: of the last layer, what is not run for tokens that the classifier does not read.
        embedding_linears: FLOPs of linear layers before the first layer, per token.
        head_linears: FLOPs of the model's own classifier, per text.
        num_labels: width of the logits.
        branch: of one branch, as it is run.
        paper_branch: of one branch, as the paper counts.
        lexical: of the lexical branch, in both counts; None for a model without one.
    """

    hidden_size: int
    layer_linears: tuple[int, ...]
    attention: TextFlops
    skipped: TextFlops
    embedding_linears: int
    head_linears: int
    num_labels: int
    branch: BranchFlops
    paper_branch: BranchFlops
    lexical: BranchFlops | None = None

    @property
    def num_layers(self) -> int:
        """Layers of the backbone."""
        return len(self.layer_linears)

    @property
    def exits(self) -> range:
        """Where a text may leave: 0 where there is a lexical branch, and the layers, from 1."""
        return range(0 if self.lexical else 1, self.num_layers + 1)

    # -- the paper's count ---------------------------------------------------------------------------

    def paper_layer(self, num_tokens: int = PAPER_LENGTH) -> int:
        """Return the FLOPs of one layer (1,811.94 M in a BERT-base at 128 tokens)."""
        return self.layer_linears[0] * num_tokens

    def paper_full_depth(self, num_tokens: int = PAPER_LENGTH) -> int:
        """Return the FLOPs of all layers and a teacher of the paper's branch's shape."""
        width, _ = BRANCH_SIZES[BranchDesign.PAPER]
        teacher = paper_count(self.hidden_size, width)
        return self.num_layers * self.paper_layer(num_tokens) + teacher.of_text(num_tokens)

    def paper_saved_compute(
        self,
        mean_exit_layer: float,
        mean_classifiers: float | None = None,
        *,
        runs_lexical: bool = False,
    ) -> float:
        """Return full depth over FastBERT.

        Args:
            mean_exit_layer: over all texts, of which those that leave at the lexical branch count 0.
            mean_classifiers: classifiers that were run after layers, the teacher included, over all texts;
                None for the paper's rule, one after every layer.
            runs_lexical: whether all texts go through the lexical branch.
        """
        classifiers = mean_exit_layer if mean_classifiers is None else mean_classifiers
        branch = self.paper_branch.of_text(PAPER_LENGTH)
        run = mean_exit_layer * self.paper_layer() + classifiers * branch
        if runs_lexical and self.lexical:
            run += self.lexical.of_text(PAPER_LENGTH)
        return self.paper_full_depth() / run

    # -- the actual count ----------------------------------------------------------------------------

    def full_depth(self, num_tokens: Lengths) -> Flops:
        """Return the FLOPs of each text at full depth, no branch being run, (rows,).

        Args:
            num_tokens: (rows,) real tokens, special ones included.
        """
        last: Flops = self.to_layers(num_tokens)[:, -1]
        return last

    def to_layers(self, num_tokens: Lengths) -> Flops:
        """Return the FLOPs of each text that leaves after each layer, no branch being run.

        Args:
            num_tokens: (rows,) real tokens, special ones included.

        Returns:
            (rows, num_layers); of the last layer with the model's own classifier.
        """
        linears = np.cumsum(self.layer_linears) + self.embedding_linears
        layers = np.arange(1, self.num_layers + 1)
        attention = self.attention.of_text(num_tokens)[:, None] * layers
        flops: Flops = linears * num_tokens[:, None] + attention
        flops[:, -1] += self.head_linears - self.skipped.of_text(num_tokens)
        return flops

    def to_exits(self, num_tokens: Lengths) -> Flops:
        """Return the same of each text that leaves at each of `exits`, (rows, len(exits)).

        Before the first layer nothing was run.
        """
        to_layers = self.to_layers(num_tokens)
        return np.pad(to_layers, ((0, 0), (1, 0))) if self.lexical else to_layers

    def of_branches(self, num_tokens: Lengths) -> Flops:
        """Return the FLOPs of each branch on each text, (rows, len(exits) - 1).

        Args:
            num_tokens: (rows,) real tokens, special ones included.
        """
        branches = [self.branch.of_text(num_tokens)] * (self.num_layers - 1)
        lexical = [self.lexical.of_text(num_tokens)] if self.lexical else []
        return np.stack([*lexical, *branches], axis=1)

    def with_exits(self, num_tokens: Lengths, exit_layer: npt.NDArray[np.int16], policy: ExitPolicy) -> Flops:
        """Return the FLOPs of each text up to the exit where it left, branches included, (rows,).

        Args:
            num_tokens: (rows,) real tokens, special ones included.
            exit_layer: (rows,) of `exits`.
            policy: says which branches were run.
        """
        return cost_of_exits(
            self.to_exits(num_tokens),
            self.of_branches(num_tokens),
            policy.runs_branch[self.exits.start :],
            exit_layer - self.exits.start,
        )


def flops_model(
    config: PretrainedConfig, branch: Branch | None = None, lexical: LexicalBranch | None = None
) -> FlopsModel:
    """Read off a sequence classifier's configuration what its parts cost; no weights are made.

    Args:
        config: of a supported family; not a FastBERT's, but its backbone's.
        branch: of the kind that follows its layers; None for the paper's.
        lexical: the branch before the first layer; None for none.

    Raises:
        CheckpointError: if the family is not supported.

    >>> from transformers import BertConfig
    >>> base = flops_model(BertConfig())
    >>> base.paper_layer(), base.paper_branch.of_text(128)
    (1811939328, 41975808)
    >>> base.paper_full_depth()
    21785247744
    """
    with torch.device("meta"):
        branch = branch or make_branch(FastBertConfig(backbone_config=config, num_labels=config.num_labels))
        model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    backbone = adapter_for(model)
    layers = tuple(map(backbone.layer_linears, range(len(backbone.layers))))
    embedding = sum(map(linear_flops, backbone.embedding_modules))
    distinct_layers = sum(linear_flops(layer) for layer in set(backbone.layers))
    return FlopsModel(
        hidden_size=config.hidden_size,
        layer_linears=layers,
        attention=backbone.packed_attention_flops,
        skipped=_skipped_in_last_layer(backbone),
        embedding_linears=embedding,
        head_linears=linear_flops(model) - distinct_layers - embedding,
        num_labels=config.num_labels,
        branch=branch.flops,
        paper_branch=branch.paper_flops,
        lexical=lexical.flops if lexical else None,
    )


def fastbert_flops(config: FastBertConfig) -> FlopsModel:
    """Return the same of a FastBERT, its branches as it has them."""
    with torch.device("meta"):
        branch, lexical = make_branch(config), make_lexical_branch(config)
    return flops_model(config.backbone_config, branch, lexical)


def checkpoint_flops(directory: Path) -> FlopsModel:
    """Return the same of the FastBERT in `directory`, of whose weights nothing is read.

    Raises:
        CheckpointError: if it is some other model's, or no network can be made of its configuration.
    """
    config = load_fastbert_config(directory)
    with foreign(f"{str(directory)!r} has no usable config.json"):
        return fastbert_flops(config)


def _skipped_in_last_layer(backbone: BackboneAdapter) -> TextFlops:
    """Return what packed blocks leave out for all tokens but those that are read; nothing of other layers."""
    blocks = backbone.blocks(len(backbone.layers) - 1)[-1:]
    return sum((block.skipped_when_last for block in blocks), start=TextFlops())
