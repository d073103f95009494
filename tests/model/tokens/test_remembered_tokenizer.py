import gc
import weakref

from transformers import CanineTokenizer

from model.tokens.remembered_tokenizer import remembered
from tests.model.tokens.tokenizers_of_every_kind import word_piece


def test_a_tokenizer_is_looked_at_once_and_again_when_it_was_changed():
    tokenizer = word_piece(lowercase=True)
    first = remembered(tokenizer)
    assert remembered(tokenizer) is first
    tokenizer.add_tokens(["zebra"])
    second = remembered(tokenizer)
    assert second is not first
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    assert remembered(tokenizer) is not second


def test_texts_that_are_cut_on_the_left_are_not_tokenised_by_chunks():
    tokenizer = word_piece(lowercase=True)
    assert remembered(tokenizer).chunks is not None
    tokenizer.truncation_side = "left"
    assert remembered(tokenizer).chunks is None
    assert remembered(tokenizer).long_texts is not None


def test_nothing_is_known_of_a_tokenizer_written_in_python():
    known = remembered(CanineTokenizer())
    assert (known.chunks, known.long_texts) == (None, None)


def test_a_tokenizer_that_is_gone_is_remembered_no_longer():
    tokenizer = word_piece(lowercase=True)
    assert remembered(tokenizer).long_texts is not None
    gone = weakref.ref(tokenizer)
    del tokenizer
    gc.collect()
    assert gone() is None
