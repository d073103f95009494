"""Which tokenizers part texts at spaces before all else, as far as their kinds say."""

import json
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
# Those of them that part words at spaces, and not only at other marks.
_PART_AT_SPACES = _PRE_TOKENIZERS - {"Punctuation"}
# The patterns that are known to see no further than a run of blanks: of most SentencePiece tokenizers, and of
# DeBERTa's.
_RUNS_OF_BLANKS = [{"Regex": " {2,}"}, {"Regex": r"\s{2,}|[\n\r\t]"}]
# A longer added token is no token, but a text.
_LONGEST_ADDED_TOKEN = 64


def added_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the tokens that are looked for before a text is parted, special ones among them."""
    return [str(token) for token in tokenizer.added_tokens_decoder.values()]


def may_part_at_spaces(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether nothing in a fast tokenizer is known to see further than to the next space."""
    added = added_tokens(tokenizer)
    if len(added) > _MOST_ADDED_TOKENS or any(" " in token for token in added):
        return False
    backend = tokenizer.backend_tokenizer
    # What replaces a space may look at what stands around it.
    return _joins_no_words(backend) and all(
        part["type"] in _NORMALIZERS and (part["type"] != "Replace" or _replaces_nearby(part))
        for part in _parts(backend.normalizer)
    )


def sees_only_nearby(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a fast tokenizer parts texts at spaces, and sees no more than a word and what is beside.

    Asked by kind alone: what it does to the end of a long text cannot be tried out on all texts.
    """
    backend = tokenizer.backend_tokenizer
    if not _joins_no_words(backend) or not all(map(_stands_alone, added_forms(tokenizer))):
        return False
    # What takes blanks along behind it, or asks what stands behind it, is another where a text ends there.
    if any(token.rstrip or token.single_word for token in tokenizer.added_tokens_decoder.values()):
        return False
    return not step_kinds(backend.pre_tokenizer).isdisjoint(_PART_AT_SPACES) and all(
        part["type"] in _NORMALIZERS and _replaces_nearby(part) for part in _parts(backend.normalizer)
    )


def has_berts_steps(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a fast tokenizer normalises and parts texts as BERT's does, character by character."""
    backend = tokenizer.backend_tokenizer
    steps = (backend.normalizer, backend.pre_tokenizer)
    return [type(step).__name__ for step in steps] == ["BertNormalizer", "BertPreTokenizer"]


def step_kinds(step: object | None) -> set[str]:
    """Return the kinds of what a normaliser or a pre-tokenizer is made of."""
    return {part["type"] for part in _parts(step)}


def added_forms(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the added tokens as they are looked for: as they are, and normalised."""
    tokens, normalizer = added_tokens(tokenizer), tokenizer.backend_tokenizer.normalizer
    return tokens if normalizer is None else [*tokens, *map(normalizer.normalize_str, tokens)]


def words(backend: Any, text: str) -> list[str]:
    """Return what a fast tokenizer makes of a text before its model sees it, added tokens not looked for.

    Args:
        backend: of the tokenizer, the `tokenizers.Tokenizer` in it.
        text: any.
    """
    normal = text if backend.normalizer is None else backend.normalizer.normalize_str(text)
    return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal)]


def _joins_no_words(backend: Any) -> bool:
    """Return whether a tokenizer is of a known kind whose model is given word by word, and answers the same.

    A pre-tokenizer that does not split, or by no pattern, leaves words to be joined by the model.
    """
    if type(backend.model).__name__ not in _MODELS or getattr(backend.model, "dropout", None):
        return False
    return backend.pre_tokenizer is not None and all(
        part["type"] in _PRE_TOKENIZERS and part.get("split", True) and part.get("use_regex", True)
        for part in _parts(backend.pre_tokenizer)
    )


def _stands_alone(token: str) -> bool:
    return len(token) <= _LONGEST_ADDED_TOKEN and not any(map(str.isspace, token))


def _replaces_nearby(part: dict[str, Any]) -> bool:
    """Return whether a step leaves words and the spaces before them as they are, wherever a text begins."""
    if part["type"] != "Replace":
        return not part.get("strip_left")
    pattern = part["pattern"]
    return pattern in _RUNS_OF_BLANKS or not any(
        letter.isalnum() or letter.isspace() for letter in pattern.get("String", " ")
    )


def _parts(step: Any) -> list[dict[str, Any]]:
    """Return what a step is made of, nothing where there is none."""
    waiting, parts = [] if step is None else [json.loads(step.__getstate__())], []
    while waiting:
        part = waiting.pop()
        within = part.get("normalizers") or part.get("pretokenizers")
        waiting += within or []
        parts += [] if within else [part]
    return parts
