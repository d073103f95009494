"""What a lexical branch is bound to: the numbers of tokens and labels that it learnt."""

import hashlib
import json
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from model.tokens.ngrams import MAX_ORDER


def lexical_signature(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> str:
    """Return what is another for other tokens, other numbers of them, or labels in another order.

    SHA-256, 64 hexadecimal digits.
    """
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    facts = [MAX_ORDER, tokenizer.sep_token_id, list(labels), tokens]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()
