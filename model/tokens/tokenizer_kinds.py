"""Which tokenizers part texts at spaces before all else, as far as their kinds say."""

import json
from collections.abc import Iterator
from typing import Any

from transformers import PreTrainedTokenizerBase

# Each added token is looked for in every new chunk of text; a tokenizer that has more of them is left alone.
_MOST_ADDED_TOKENS = 200
# Steps that see no further than to the next space, which `ByteLevel` takes along.
_NORMALIZERS = {
    "BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Replace", "Strip",
    "StripAccents",
}  # fmt: skip
_PRE_TOKENIZERS = {
    "BertPreTokenizer", "ByteLevel", "Metaspace", "Punctuation", "Whitespace", "WhitespaceSplit"
}  # fmt: skip
_MODELS = {"BPE", "Unigram", "WordPiece"}


def added_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the tokens that are looked for before a text is parted, special ones among them."""
    return [str(token) for token in tokenizer.added_tokens_decoder.values()]


def may_part_at_spaces(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether nothing in a fast tokenizer is known to see further than to the next space."""
    added = added_tokens(tokenizer)
    if len(added) > _MOST_ADDED_TOKENS or any(" " in token for token in added):
        return False
    backend = tokenizer.backend_tokenizer
    if tokenizer.truncation_side != "right" or backend.pre_tokenizer is None:
        return False
    steps = [(backend.normalizer, _NORMALIZERS), (backend.pre_tokenizer, _PRE_TOKENIZERS)]
    return type(backend.model).__name__ in _MODELS and all(
        known.issuperset(_kinds(json.loads(step.__getstate__()))) for step, known in steps if step is not None
    )


def _kinds(step: dict[str, Any]) -> Iterator[str]:
    """Yield the kinds of a step's parts."""
    parts = step.get("normalizers") or step.get("pretokenizers")
    if parts is None:
        # One that does not split leaves words to be joined.
        yield step["type"] if step.get("split", True) else "no split"
    else:
        for part in parts:
            yield from _kinds(part)
