"""Floating-point operations of texts: the paper's count and the actual one.

Both count 2 FLOPs per multiply-add. The paper (Liu et al. 2020, Tables 1 and 2) counts the linear layers of a
text padded to 128 tokens, with a teacher of the branch's shape, and leaves out the attention products and
the last N-way layer. The actual count adds both, takes each text's real length and the model's own head, and
all of it as it is run here: of the last layer only what its first token needs; of a branch what its design
says, and nothing where nothing may leave.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.cost.exit_cost import cost_of_exits
from model.exits.policy import ExitPolicy
from model.network.branch_design import BRANCH_SIZES, BranchDesign
from model.network.part_flops import BranchFlops, TextFlops, pairs_within, paper_count
from model.tokens.lengths import Lengths

PAPER_LENGTH = 128
Flops = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FlopsModel:
    """What the two counts need to know of a model; see `model.cost.network_flops`.

    Attributes:
        hidden_size: width of the hidden states that a branch reads.
        layer_linears: (num_layers,) FLOPs of a layer's linear layers, per token.
        attention: of a layer's attention products, for all tokens.
        attention_reaches: (num_layers,) how many tokens away the last one is that a token of a layer sees;
            None where it sees all; empty where all layers do.
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
    attention_reaches: tuple[int | None, ...] = ()

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

    def paper_full_depth(self) -> int:
        """Return the FLOPs of all layers and a teacher of the paper's branch's shape."""
        width, _ = BRANCH_SIZES[BranchDesign.PAPER]
        teacher = paper_count(self.hidden_size, width)
        return self.num_layers * self.paper_layer() + teacher.of_text(PAPER_LENGTH)

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
        flops: Flops = linears * num_tokens[:, None] + self._attention_to_layers(num_tokens)
        flops[:, -1] += self.head_linears - self.skipped.of_text(num_tokens)
        return flops

    def _attention_to_layers(self, num_tokens: Lengths) -> Flops:
        """Return the FLOPs of attention products up to each layer, (rows, num_layers)."""
        reaches = self.attention_reaches or (None,) * self.num_layers
        of_layer = {
            reach: self.attention.of_text(
                num_tokens, None if reach is None else pairs_within(num_tokens, reach)
            )
            for reach in set(reaches)
        }
        to_layers: Flops = np.cumsum(np.stack([of_layer[reach] for reach in reaches], axis=1), axis=1)
        return to_layers

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
