"""Tokenizers of every kind that the supported families have, trained on the spot."""

import math
from collections import Counter

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import DebertaV2Tokenizer, PreTrainedTokenizerFast, XLNetTokenizer

from tests.model.tokens.sentencepiece_model import CORPUS, sentencepiece_model

_BERT = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
_LONGEST_PART = 5
_ROBERTA = {"unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}


def word_piece(*, lowercase):
    """As BERT, ELECTRA, DistilBERT and others have it."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=names, **_BERT)


def byte_level(*, add_prefix_space):
    """As RoBERTa has it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=add_prefix_space
    )
    # It takes the space before it along.
    mask = AddedToken("<mask>", lstrip=True, normalized=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token=mask, **_ROBERTA)


def unigram(pre_tokenizer, normalizer):
    """As the families have it whose tokenizers are SentencePiece's."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_ROBERTA)


def unigram_pieces(corpus, specials, *, vocab_size):
    """Return what a Unigram model is made of, (piece, score) by id; special tokens come first.

    The most frequent parts of words, and all letters. A trainer would number them by chance.
    """
    words = [f"▁{word}" for text in corpus for word in text.split()]
    parts = Counter(
        word[start:end]
        for word in words
        for start in range(len(word))
        for end in range(start + 1, min(start + _LONGEST_PART, len(word)) + 1)
    )
    by_count = sorted(parts, key=lambda part: (len(part) > 1, -parts[part], part))
    total = sum(parts.values())
    pieces = [(part, math.log(parts[part] / total)) for part in by_count[: vocab_size - len(specials)]]
    return [*((special, 0.0) for special in specials), *pieces]


def xlnet(corpus, *, vocab_size=300, **options):
    """As XLNet has it: special tokens behind the text, the last of a token type of its own."""
    specials = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]
    pieces = unigram_pieces(corpus, specials, vocab_size=vocab_size)
    return XLNetTokenizer(vocab=pieces, unk_id=0, **options)


def deberta_v3(corpus, *, vocab_size=300):
    """As DeBERTa's versions 2 and 3 have it."""
    specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    pieces = unigram_pieces(corpus, specials, vocab_size=vocab_size)
    return DebertaV2Tokenizer(vocab=pieces)


def every_kind():
    """Return tokenizers by the families that have such."""
    table = sentencepiece_charsmap()
    charsmap = normalizers.Precompiled(table)
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    metaspace = pre_tokenizers.Metaspace()
    return {
        "bert": word_piece(lowercase=True),
        "bert, cased": word_piece(lowercase=False),
        "roberta": byte_level(add_prefix_space=False),
        "roberta, space before": byte_level(add_prefix_space=True),
        "xlm-roberta": unigram(
            pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace]), charsmap
        ),
        "camembert": unigram(metaspace, normalizers.Sequence([charsmap, one_space])),
        "albert": unigram(
            metaspace,
            normalizers.Sequence(
                [
                    normalizers.Replace("``", '"'),
                    normalizers.Replace("''", '"'),
                    normalizers.NFKD(),
                    normalizers.StripAccents(),
                    normalizers.Lowercase(),
                    charsmap,
                    one_space,
                ]
            ),
        ),
        "deberta-v2": deberta_v3(CORPUS),
        "xlnet": xlnet(CORPUS, _spm_precompiled_charsmap=table),
        "xlnet, token types": xlnet(
            CORPUS,
            do_lower_case=True,
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
            _spm_precompiled_charsmap=table,
        ),
        "space before the first word only": unigram(
            pre_tokenizers.Metaspace(prepend_scheme="first"), normalizers.NFKC()
        ),
        "no space before the first word": unigram(
            pre_tokenizers.Metaspace(prepend_scheme="never"), normalizers.NFKC()
        ),
    }


def sentencepiece_charsmap():
    """Return the table by which SentencePiece normalises, out of a model that is trained for it alone."""
    normalizer_spec = dict(_fields(sentencepiece_model().model))[3]
    return dict(_fields(normalizer_spec))[2]


def _fields(message):
    """Yield the number and the content of each field of a protocol buffer message."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = varint() if key & 7 == 2 else {1: 8, 5: 4}[key & 7]
        yield key >> 3, message[at : at + size]
        at += size
