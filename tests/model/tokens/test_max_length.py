import pytest
import torch
from transformers import AutoModelForSequenceClassification

from model.errors import CheckpointError, ParameterError
from model.tokens.max_length import check_max_length, choose_max_length, position_limit

# These know distances between tokens only.
_NO_POSITIONS = ("deberta-v2", "modernbert", "modernbert, mean", "xlnet", "xlnet, token types")


def test_the_longest_length_is_asked_for_or_the_models_but_512_at_most():
    assert choose_max_length(None, 48) == 48
    assert choose_max_length(None, 512) == 512
    assert choose_max_length(None, 8192) == 512
    assert choose_max_length(4, 48) == 4
    assert choose_max_length(48, 48) == 48
    assert choose_max_length(1000, 8192) == 1000


@pytest.mark.parametrize("requested", [-1, 0, 3, 49])
def test_a_length_that_cannot_be_is_refused_with_the_limit(requested):
    with pytest.raises(ParameterError, match=f"`max_length` {requested} is not between 4 and 48"):
        choose_max_length(requested, 48)


@pytest.mark.parametrize("limit", [-1, 0, 3])
def test_a_model_that_takes_nothing_is_refused(limit):
    with pytest.raises(
        ParameterError, match=f"`max_length` {limit} is not between 4 and {limit}, the model's"
    ):
        choose_max_length(None, limit)


def test_the_limit_is_what_the_model_can_take_and_no_token_more(family, make_classifier, tokenizer_of):
    model, tokenizer = make_classifier(family), tokenizer_of(family)
    tokenizer.model_max_length = 10**30
    limit = position_limit(model, tokenizer)

    def run(num_tokens):
        model(input_ids=torch.full((1, num_tokens), 7), attention_mask=torch.ones(1, num_tokens))

    if family in _NO_POSITIONS:
        assert limit == 10**30
        run(300)
        return
    assert limit in (48, 50)  # max_position_embeddings is 50, of which the RoBERTa family cannot use 2
    run(limit)
    with pytest.raises((IndexError, RuntimeError)):
        run(limit + 1)


def test_the_tokenizers_limit_counts_too(make_classifier, tokenizer_of):
    tokenizer = tokenizer_of("bert")
    tokenizer.model_max_length = 33
    assert position_limit(make_classifier("bert"), tokenizer) == 33


def test_the_limit_is_known_without_weights(family, make_classifier, tokenizer_of):
    model, tokenizer = make_classifier(family), tokenizer_of(family)
    tokenizer.model_max_length = 10**30
    with torch.device("meta"):
        weightless = AutoModelForSequenceClassification.from_config(model.config)
    assert position_limit(weightless, tokenizer) == position_limit(model, tokenizer)


def test_a_checkpoint_may_ask_for_what_its_network_takes(family, make_classifier, tokenizer_of):
    model, tokenizer = make_classifier(family), tokenizer_of(family)
    tokenizer.model_max_length = 10**30
    limit = position_limit(model, tokenizer)
    for length in (4, limit):
        check_max_length(length, model, "m")
    if family in _NO_POSITIONS:
        with pytest.raises(CheckpointError, match=r"'m' says 'max_length' 3 .* less than 4"):
            check_max_length(3, model, "m")
        return
    for length in (-1, 0, 3, limit + 1):
        with pytest.raises(CheckpointError, match=f"'m' says 'max_length' {length} .* 4 and {limit}, the"):
            check_max_length(length, model, "m")


def test_a_network_that_tells_no_positions_takes_any_length():
    check_max_length(10**6, torch.nn.Linear(1, 1), "m")
