"""The lexical branch made ready: packed token ids to logits, on the host, in float32."""

import numpy as np
import torch
from torch import Tensor

from model.engine.core_pool import ParallelMap
from model.engine.frozen_copy import frozen_copy
from model.network.lexical_branch import LexicalBranch, NgramBag
from model.tokens.lengths import chunks, cu_seqlens
from model.tokens.ngram_table import NgramTable
from model.tokens.ngrams import hash_ngrams
from model.tokens.tokenization import TokenizedTexts

# Hashes of so many tokens stay in a core's cache.
_TOKENS_PER_PART = 1 << 15


def ngram_bag(texts: TokenizedTexts, table: NgramTable, *, sep_token_id: int | None) -> NgramBag:
    """Return the n-grams of some texts that a table knows.

    Args:
        texts: in any order.
        table: of the branch.
        sep_token_id: the tokenizer's separator; None where it has none.
    """
    ngrams = hash_ngrams(texts, sep_token_id=sep_token_id)
    numbers, is_known = table.find(ngrams.hashes)
    known_before = cu_seqlens(is_known)
    return NgramBag(
        numbers=torch.from_numpy(numbers),
        orders=torch.from_numpy(ngrams.orders[is_known]),
        offsets=torch.from_numpy(known_before[cu_seqlens(ngrams.counts)]),
    )


class LexicalReader:
    """Answers from token ids alone."""

    def __init__(self, branch: LexicalBranch, *, sep_token_id: int | None) -> None:
        """Take a branch on any device, in any dtype and mode; it stays as it is.

        Args:
            branch: of the model.
            sep_token_id: its tokenizer's separator; None where it has none.
        """
        self._branch = frozen_copy(branch, device="cpu", dtype=torch.float32)
        self._table, self._sep_token_id = branch.table, sep_token_id

    def logits(self, texts: TokenizedTexts, parallel_map: ParallelMap) -> Tensor:
        """Return (texts, num_outputs) float32, on the host.

        Args:
            texts: at least one, in any order.
            parallel_map: calls a function with each part of the texts, maybe side by side.
        """

        def read(part: slice) -> Tensor:
            rows = texts.take(np.arange(part.start, part.stop))
            logits: Tensor = self._branch(ngram_bag(rows, self._table, sep_token_id=self._sep_token_id))
            return logits

        return torch.cat(parallel_map(read, chunks(texts.lengths, _TOKENS_PER_PART)))
