import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertTokenizer

from jobs.quickstart.tiny_bert import train_wordpiece, write_tiny_bert

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "A dog and a fox were jumping over the brown fence, quickly.",
    "Naïve cafés serve 12 quick lunches; the dog waits.",
] * 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny") / "bert"
    write(directory, seed=0)
    return directory


def write(directory: Path, *, seed: int) -> None:
    write_tiny_bert(
        directory, TEXTS, vocab_size=120, num_layers=2, hidden_size=16, num_heads=2, max_length=24, seed=seed
    )


def test_vocabulary_is_bounded_and_starts_with_bert_special_tokens() -> None:
    tokenizer = train_wordpiece(TEXTS, vocab_size=120)
    assert isinstance(tokenizer, BertTokenizer)
    assert len(tokenizer) <= 120
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.all_special_ids == [1, 3, 0, 2, 4]


def test_text_is_lower_cased_stripped_of_accents_and_never_unknown() -> None:
    tokenizer = train_wordpiece(TEXTS, vocab_size=120)
    assert tokenizer.tokenize("The FOX") == ["the", "fox"]
    assert tokenizer.decode(tokenizer("Café", add_special_tokens=False)["input_ids"]) == "cafe"
    assert tokenizer.unk_token not in tokenizer.tokenize("god boxes")
    assert tokenizer.tokenize("狐") == ["[UNK]"]


def test_pairs_have_token_types(checkpoint: Path) -> None:
    encoded = AutoTokenizer.from_pretrained(checkpoint)("the fox", "dog")
    tokens = AutoTokenizer.from_pretrained(checkpoint).convert_ids_to_tokens(encoded["input_ids"])
    assert tokens == ["[CLS]", "the", "fox", "[SEP]", "dog", "[SEP]"]
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert encoded["attention_mask"] == [1] * 6


def test_tokenizer_survives_saving(checkpoint: Path) -> None:
    loaded = AutoTokenizer.from_pretrained(checkpoint)
    trained = train_wordpiece(TEXTS, vocab_size=120)
    assert loaded.get_vocab() == trained.get_vocab()
    assert [loaded(text)["input_ids"] for text in TEXTS] == [trained(text)["input_ids"] for text in TEXTS]
    assert loaded.model_max_length == 24


def test_vocabulary_is_the_same_in_every_process() -> None:
    # The hash maps of the tokenizers library are seeded anew in each process.
    program = (
        "from jobs.quickstart.tiny_bert import train_wordpiece; import sys\n"
        "print(sorted(train_wordpiece(sys.argv[1:], vocab_size=120).get_vocab().items()))"
    )
    run = subprocess.run([sys.executable, "-c", program, *TEXTS], capture_output=True, check=True, text=True)
    assert run.stdout.strip() == str(sorted(train_wordpiece(TEXTS, vocab_size=120).get_vocab().items()))


def test_checkpoint_loads_as_a_classifier(checkpoint: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, num_labels=3).eval()
    inputs = AutoTokenizer.from_pretrained(checkpoint)(
        TEXTS, padding=True, truncation=True, return_tensors="pt"
    )
    assert inputs["input_ids"].shape[1] <= 24
    assert model(**inputs).logits.shape == (len(TEXTS), 3)


def test_writing_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, seed=0)
    assert capfd.readouterr() == ("", "")


def test_weights_follow_the_seed_and_leave_the_callers_random_state(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    write(tmp_path / "same", seed=0)
    write(tmp_path / "other", seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    weights = (checkpoint / "model.safetensors").read_bytes()
    assert (tmp_path / "same" / "model.safetensors").read_bytes() == weights
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != weights
