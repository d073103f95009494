import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig

from model.answers.task import Task
from model.errors import CheckpointError
from model.network.config import FastBertConfig
from model.network.lexical_branch import LexicalBranch, NgramBag, make_lexical_branch, max_ngrams
from model.tokens.ngram_table import slot_bits_for
from model.tokens.ngrams import MAX_ORDER

LABELS = [2, 3, 77]


def branch_of(num_labels, num_ngrams=40):
    torch.manual_seed(0)
    branch = LexicalBranch(num_ngrams=num_ngrams, slot_bits=10, num_outputs=num_labels).eval()
    with torch.no_grad():
        branch.embedding.weight.normal_()
    return branch


@pytest.mark.parametrize("num_labels", LABELS)
def test_a_text_is_the_weighted_sum_of_its_ngrams_over_the_root_of_their_number(num_labels):
    branch = branch_of(num_labels)
    texts = [[(3, 1), (5, 2), (5, 2), (9, 3)], [], [(0, 1)]]
    flat = [ngram for text in texts for ngram in text]
    bag = NgramBag(
        numbers=torch.tensor([number for number, _ in flat]),
        orders=torch.tensor([order for _, order in flat], dtype=torch.int8),
        offsets=torch.tensor([0, 4, 4, 5]),
    )
    logits = branch(bag)
    assert (logits.dtype, logits.shape) == (torch.float32, (3, num_labels))
    for row, text in enumerate(texts):
        total = torch.zeros(branch.embedding.embedding_dim)
        for number, order in text:
            total += branch.embedding.weight[number] / 2 ** (order - 1)
        expected = branch.classifier(branch.hidden(total / max(len(text), 1) ** 0.5))
        torch.testing.assert_close(logits[row], expected)


@settings(max_examples=30)
@given(st.integers(300, 3_000_000), st.sampled_from([2, 3, 1000]))
def test_a_branch_of_as_many_ngrams_as_fit_is_no_larger_than_asked_for(size, num_labels):
    def num_bytes(num_ngrams):
        with torch.device("meta"):
            branch = LexicalBranch(
                num_ngrams=num_ngrams, slot_bits=slot_bits_for(num_ngrams), num_outputs=num_labels
            )
        return sum(tensor.nbytes for tensor in branch.state_dict().values())

    most = max_ngrams(size, num_labels)
    if most > 0:
        assert num_bytes(most) <= size
    assert num_bytes(max(most, 0) + 1) > size


def test_what_it_costs():
    flops = branch_of(3).flops
    assert flops.per_text == 2 * (64 * 128 + 128 * 3)
    assert flops.per_token == MAX_ORDER * (2 * 64 + 24)
    assert branch_of(2).flops.per_text == 2 * 2 * 2


def test_between_two_labels_there_is_no_hidden_layer():
    assert [len(branch_of(labels).hidden) for labels in LABELS] == [0, 4, 4]


def test_a_score_has_a_hidden_layer():
    config = BertConfig(num_labels=1, problem_type="regression")
    fastbert = FastBertConfig.from_backbone(config, max_length=16)
    fastbert.lexical_ngrams, fastbert.lexical_slot_bits = 40, 10
    branch = make_lexical_branch(fastbert)
    assert len(branch.hidden) == 4
    assert branch.classifier.out_features == 2
    assert max_ngrams(100_000, 2, Task.SCORE) < max_ngrams(100_000, 2)


def test_it_begins_with_no_evidence_between_two_labels_and_with_little_among_more():
    bag = NgramBag(numbers=torch.tensor([1, 2]), orders=torch.tensor([1, 1]), offsets=torch.tensor([0, 1, 2]))
    two, three = (LexicalBranch(num_ngrams=9, slot_bits=6, num_outputs=labels).eval() for labels in (2, 3))
    assert torch.equal(two(bag)[0], two(bag)[1])
    assert not torch.equal(three(bag)[0], three(bag)[1])


def test_a_configuration_that_asks_for_none_makes_none():
    assert make_lexical_branch(FastBertConfig(backbone_config=BertConfig())) is None


def test_a_table_of_another_number_of_ngrams_is_refused():
    with pytest.raises(CheckpointError, match="'mine' is damaged: its lexical branch knows 0 n-grams"):
        branch_of(2).check("mine")
