"""A small BERT of random weights, with a WordPiece vocabulary of its own: a start for fine-tuning.

For whoever has no pretrained model at hand and no network to fetch one: `quickstart`, tests and benchmarks.
What is written is an ordinary Hugging Face checkpoint; nothing that reads one can tell it from a large one.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers.trainers import WordPieceTrainer
from transformers import BertConfig, BertModel, BertTokenizer

from model.checkpoints.loading import silence_transformers

_SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_MAX_LETTERS = 200  # rarer ones become [UNK]


def train_wordpiece(texts: Iterable[str], *, vocab_size: int) -> BertTokenizer:
    """Learn a lower-casing WordPiece vocabulary from texts.

    Args:
        texts: what to learn from.
        vocab_size: at most so many tokens, the five special ones and single letters included.

    Returns:
        A tokenizer that encodes pairs with token types, as BERT's own does; equal texts make equal ones.
    """
    # An untrained BERT tokenizer lends the normaliser and the splitter that will read the texts later.
    backend = BertTokenizer().backend_tokenizer
    texts = [backend.normalizer.normalize_str(text) for text in texts]
    letters = _frequent_letters(texts)
    # The trainer numbers letters in the order of a randomly seeded hash map and breaks ties by these
    # numbers, so that two runs would learn two vocabularies. Letters that it is given keep their place.
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*_SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters)],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return BertTokenizer(vocab=backend.get_vocab())


def write_tiny_bert(
    directory: str | Path,
    texts: Iterable[str],
    *,
    vocab_size: int = 8192,
    num_layers: int = 6,
    hidden_size: int = 128,
    num_heads: int = 4,
    max_length: int = 128,
    seed: int = 0,
) -> None:
    """Write a randomly initialised BERT encoder and its tokenizer as a Hugging Face checkpoint.

    Args:
        directory: where to; created if need be.
        texts: what the vocabulary is learnt from.
        vocab_size: at most so many tokens.
        num_layers: transformer layers.
        hidden_size: width of the hidden states; the feed-forward part is four times as wide.
        num_heads: attention heads; divides `hidden_size`.
        max_length: longest input in tokens.
        seed: seeds the weights. The caller's random state is left as it was.
    """
    tokenizer = train_wordpiece(texts, vocab_size=vocab_size)
    tokenizer.model_max_length = max_length
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=max_length,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config)
    with silence_transformers():
        model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _frequent_letters(texts: Iterable[str]) -> list[str]:
    counts = Counter(letter for text in texts for letter in text if not letter.isspace())
    return sorted(counts, key=lambda letter: (-counts[letter], letter))[:_MAX_LETTERS]
