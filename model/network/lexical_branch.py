"""Exit 0: a classifier that reads a text's n-grams, and stands before the first layer.

Many texts give their label away by a few words. As in Sparse Distillation (Ye et al., NAACL 2022) a sum of
n-gram vectors learns that from the teacher's answers to as many texts as there are; here it is one more exit
of the same network, under the same thresholds.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from model.answers.task import Task
from model.errors import CheckpointError
from model.network.config import FastBertConfig
from model.network.part_flops import BranchFlops
from model.tokens.ngram_table import MAX_SLOT_BITS, MIN_SLOT_BITS, NgramTable, ngrams_for
from model.tokens.ngrams import MAX_ORDER

# Chosen by measurement (docs/performance.md): between two labels evidence adds up, and anything above a sum
# is worse; among more of them a hidden layer knows better how sure it may be, and of scores by far: how far
# off they are is no sum of what words say.
_LABELS_OF_SUMS = 2
_WIDTH, _HIDDEN_SIZE, _DROPOUT, _STD_UNDER_HIDDEN = 64, 128, 0.1, 0.1
_FLOAT_BYTES = 4
# Additions, products, shifts and comparisons that hash an n-gram and find it in the table.
_OPERATIONS_PER_NGRAM = 24


@dataclass(frozen=True, kw_only=True)
class NgramBag:
    """The known n-grams of some texts.

    Attributes:
        numbers: (known,) int64, of each in the branch's table, those of a text beside each other.
        orders: (known,) int8, of how many tokens each one is.
        offsets: (texts + 1,) int64, where each text's begin, and where the last one's end.
    """

    numbers: Tensor
    orders: Tensor
    offsets: Tensor


class LexicalBranch(nn.Module):
    """A vector for each known n-gram; their sum over a text to logits, through a hidden layer or as it is.

    An n-gram counts for half of one that is a token shorter, since there are more of them and each is seen
    less often; a text's sum is divided by the square root of their number.
    """

    def __init__(
        self, *, num_ngrams: int, slot_bits: int, num_outputs: int, task: Task = Task.ONE_LABEL
    ) -> None:
        """Make a branch with fresh weights, and no n-gram known.

        Args:
            num_ngrams: how many will be.
            slot_bits: of the table's slots, see `NgramTable`.
            num_outputs: width of the logits.
            task: what these mean.
        """
        super().__init__()
        # These are the names of the tensors in checkpoints: to rename one is to lose all that were saved.
        self.register_buffer("slots", torch.zeros((1 << slot_bits) // 64, dtype=torch.int64))
        self.slots: Tensor
        width, has_hidden = _embedding_width(num_outputs, task), _has_hidden(num_outputs, task)
        self.embedding = nn.EmbeddingBag(num_ngrams, width, mode="sum", sparse=True, include_last_offset=True)
        hidden = [nn.LayerNorm(width), nn.Linear(width, _HIDDEN_SIZE), nn.GELU(), nn.Dropout(_DROPOUT)]
        self.hidden = nn.Sequential(*(hidden if has_hidden else ()))
        self.classifier = nn.Linear(_HIDDEN_SIZE if has_hidden else width, num_outputs)
        # Of a plain sum every n-gram begins with no evidence at all; a hidden layer needs something to read.
        nn.init.normal_(self.embedding.weight, std=_STD_UNDER_HIDDEN if has_hidden else 0.0)
        if not has_hidden:
            nn.init.orthogonal_(self.classifier.weight)

    @classmethod
    def of_table(cls, table: NgramTable, *, num_outputs: int, task: Task = Task.ONE_LABEL) -> "LexicalBranch":
        """Return a branch with fresh weights that knows the n-grams of a table."""
        branch = cls(num_ngrams=len(table), slot_bits=table.slot_bits, num_outputs=num_outputs, task=task)
        branch.slots.copy_(torch.from_numpy(table.words.view(np.int64)))
        return branch

    def forward(self, bag: NgramBag) -> Tensor:
        """Return logits, (texts, num_outputs) float32."""
        weights = torch.exp2(1 - bag.orders.to(self.embedding.weight.dtype))
        total = self.embedding(bag.numbers, bag.offsets, per_sample_weights=weights)
        number = bag.offsets.diff().clamp(min=1)[:, None]
        logits: Tensor = self.classifier(self.hidden(total / number.sqrt()))
        return logits

    @property
    def table(self) -> NgramTable:
        """Which n-grams are known."""
        return NgramTable(self.slots.cpu().numpy().view(np.uint64))

    @property
    def num_ngrams(self) -> int:
        """How many n-grams have a vector."""
        return self.embedding.num_embeddings

    def check(self, name: str) -> None:
        """Refuse a table of more or fewer n-grams than there are vectors.

        Raises:
            CheckpointError: naming the checkpoint, `name`.
        """
        if len(self.table) != self.num_ngrams:
            raise CheckpointError(
                f"{name!r} is damaged: its lexical branch knows {len(self.table):,} n-grams, and has vectors "
                f"for {self.num_ngrams:,}"
            )

    @property
    def flops(self) -> BranchFlops:
        """What it costs, every n-gram taken for known, and the operations of hashes counted like others."""
        linears = [part for part in self.modules() if isinstance(part, nn.Linear)]
        return BranchFlops(
            per_token=MAX_ORDER * (2 * self.embedding.embedding_dim + _OPERATIONS_PER_NGRAM),
            per_text=sum(2 * part.in_features * part.out_features for part in linears),
        )


def make_lexical_branch(config: FastBertConfig) -> LexicalBranch | None:
    """Return the branch that a configuration asks for, with fresh weights; None where it asks for none.

    Raises:
        CheckpointError: if no branch has such a size.
    """
    if not config.lexical_ngrams:
        return None
    if config.lexical_ngrams < 0 or not MIN_SLOT_BITS <= config.lexical_slot_bits <= MAX_SLOT_BITS:
        raise CheckpointError(
            f"config.json is damaged: no lexical branch has `lexical_ngrams` {config.lexical_ngrams} and "
            f"`lexical_slot_bits` {config.lexical_slot_bits}"
        )
    return LexicalBranch(
        num_ngrams=config.lexical_ngrams,
        slot_bits=config.lexical_slot_bits,
        num_outputs=config.num_outputs,
        task=config.task,
    )


def max_ngrams(size: int, num_outputs: int, task: Task = Task.ONE_LABEL) -> int:
    """Return how many n-grams a branch of at most `size` bytes may know.

    >>> [max_ngrams(64_000_000, num_outputs) for num_outputs in (2, 1_000)]
    [5902845, 245804]
    >>> [max_ngrams(size, 2) for size in (10, 100)]
    [0, 7]
    """
    ngram_bytes = _FLOAT_BYTES * _embedding_width(num_outputs, task)
    with torch.device("meta"):
        empty = LexicalBranch(num_ngrams=0, slot_bits=MIN_SLOT_BITS, num_outputs=num_outputs, task=task)
    head_bytes = sum(_FLOAT_BYTES * part.numel() for part in empty.parameters())
    most = 0
    for slot_bits in range(MIN_SLOT_BITS, MAX_SLOT_BITS + 1):
        left = size - head_bytes - (1 << slot_bits) // 8
        most = max(most, min(left // ngram_bytes, ngrams_for(slot_bits)))
    return most


def _has_hidden(num_outputs: int, task: Task) -> bool:
    return task is Task.SCORE or num_outputs > _LABELS_OF_SUMS


def _embedding_width(num_outputs: int, task: Task) -> int:
    return _WIDTH if _has_hidden(num_outputs, task) else num_outputs
