from transformers import BertTokenizer

from model.tokens.lexical_signature import lexical_signature

LABELS = ("no", "yes")


def test_equal_tokenizers_and_labels_have_equal_ones(tokenizer):
    again = BertTokenizer(vocab=dict(tokenizer.get_vocab()))
    assert lexical_signature(tokenizer, LABELS) == lexical_signature(again, list(LABELS))


def test_labels_their_order_and_every_tokens_number_count(tokenizer):
    vocab = dict(tokenizer.get_vocab())
    one, two = list(vocab)[-2:]
    swapped = {**vocab, one: vocab[two], two: vocab[one]}
    signatures = [
        lexical_signature(tokenizer, LABELS),
        lexical_signature(tokenizer, LABELS[::-1]),
        lexical_signature(tokenizer, ("no", "maybe")),
        lexical_signature(BertTokenizer(vocab=swapped), LABELS),
        lexical_signature(BertTokenizer(vocab={**vocab, "new": len(vocab)}), LABELS),
    ]
    assert len(set(signatures)) == len(signatures)
