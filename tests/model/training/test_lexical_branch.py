from dataclasses import replace

import numpy as np
import pytest
import torch

from model.engine.execution import Precision, resolve_execution
from model.errors import InputError, ParameterError
from model.exits.exit_logits import all_exit_logits
from model.exits.policy import ExitPolicy
from model.tokens.tokenization import tokenize
from model.training import lexical_branch
from model.training.distillation_config import DistillationConfig, KlDirection
from model.training.distillation_result import Advice
from model.training.lexical_branch import check_lexical_branch, train_lexical_branch
from model.training.soft_labelled_texts import SoftLabelledTexts
from tests.model.training.lexical_task import labelled

FP32 = resolve_execution(Precision.FP32, device="cpu")


@pytest.fixture
def model(make_fastbert):
    return make_fastbert("bert")


def answers(model, texts):
    tokens = tokenize(model.tokenizer, texts, max_length=model.config.max_length)
    return all_exit_logits(model.engine(FP32, num_cores=1), tokens)[:, 0]


def tensors(model):
    return {name: value.clone() for name, value in model.lexical_branch.state_dict().items()}


@pytest.mark.parametrize("num_labels", [2, 3, 5])
def test_it_learns_which_words_give_a_label_away(make_fastbert, num_labels):
    model = make_fastbert("bert", num_labels=num_labels)
    fresh = labelled(200, num_labels=num_labels, seed=9)
    trained = train_lexical_branch(
        model,
        labelled(400, num_labels=num_labels),
        DistillationConfig(),
        held_out=labelled(60, num_labels=num_labels, seed=5),
    )
    assert trained.has_converged
    assert trained.agreement == 1
    found = answers(model, fresh.texts)
    assert (found.argmax(axis=1) == fresh.logits.argmax(axis=1)).mean() > 0.99
    shares = torch.from_numpy(found).softmax(dim=1).max(dim=1).values
    teacher = torch.from_numpy(fresh.logits).softmax(dim=1).max(dim=1).values
    assert abs(shares.median() - teacher.median()) < 0.05, "as sure as the teacher is"


def test_what_is_told_is_of_the_branch_that_is_kept(model):
    held_out = labelled(60, seed=5)
    trained = train_lexical_branch(model, labelled(100), DistillationConfig(), held_out=held_out)
    found = torch.from_numpy(answers(model, held_out.texts)).log_softmax(dim=1)
    teacher = torch.from_numpy(held_out.logits).log_softmax(dim=1)
    kl = float((teacher.exp() * (teacher - found)).sum(dim=1).mean())
    assert trained.kl == pytest.approx(kl, rel=1e-4)
    assert (trained.layer, trained.fall) == (0, None)
    assert trained.train_kl < trained.kl
    assert trained.advice in (Advice.MORE_TEXT, Advice.NOTHING)
    assert not model.lexical_branch.training


def test_the_seed_decides_and_the_callers_random_numbers_are_left_alone(model):
    labels, held_out = labelled(100), labelled(30, seed=5)
    torch.manual_seed(3)
    expected = torch.rand(4)
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(3)
        train_lexical_branch(model, labels, DistillationConfig(seed=seed), held_out=held_out)
        assert torch.equal(torch.rand(4), expected)
        states.append(tensors(model))
    first, second, other = states
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


@pytest.mark.parametrize(
    "changes", [{"kl_direction": KlDirection.STUDENT_TEACHER}, {"hard_label_weight": 1.0}]
)
def test_the_loss_is_what_was_asked_for(model, changes):
    labels = labelled(100)
    train_lexical_branch(model, labels, DistillationConfig())
    before = tensors(model)
    train_lexical_branch(model, labels, replace(DistillationConfig(), **changes))
    assert not torch.equal(tensors(model)["embedding.weight"], before["embedding.weight"])


def test_without_held_out_texts_it_learns_and_nothing_is_told(model):
    labels = labelled(300)
    assert train_lexical_branch(model, labels, DistillationConfig()) is None
    assert (answers(model, labels.texts).argmax(axis=1) == labels.logits.argmax(axis=1)).mean() > 0.99


def test_it_is_no_larger_than_asked_for(model):
    train_lexical_branch(model, labelled(200), DistillationConfig(lexical_size=0.05))
    small = model.lexical_branch
    assert sum(value.nbytes for value in small.state_dict().values()) <= 50_000
    train_lexical_branch(model, labelled(200), DistillationConfig())
    assert 0 < small.num_ngrams < model.lexical_branch.num_ngrams


def test_of_size_0_there_is_none(model):
    train_lexical_branch(model, labelled(60), DistillationConfig())
    assert train_lexical_branch(model, labelled(60), DistillationConfig(lexical_size=0)) is None
    assert model.lexical_branch is None
    assert (model.config.lexical_ngrams, model.config.lexical_signature) == (0, "")


def test_a_large_corpus_is_judged_within_a_pass_once_all_of_it_was_seen(model, monkeypatch):
    judged, learner = [], lexical_branch._Learner
    seen = []
    monkeypatch.setattr(lexical_branch, "_ROUND_TEXTS", 1)
    monkeypatch.setattr("model.training.lexical_texts._TOKENS_PER_PART", 100)
    has_converged = learner.has_converged
    monkeypatch.setattr(
        learner, "has_converged", lambda *args: judged.append(sum(seen)) or has_converged(*args)
    )
    train_lexical_branch(
        model, labelled(100), DistillationConfig(), held_out=labelled(30, seed=5), on_texts=seen.append
    )
    # The counting pass and the first one that learns.
    assert 190 <= judged[0] <= 200
    assert judged[1] - judged[0] < 50


def test_pairs_are_told_apart(model):
    texts = ["fox", "dog"] * 60
    labels = SoftLabelledTexts(
        texts=texts,
        text_pairs=[{"fox": "dog", "dog": "fox"}[text] for text in texts],
        logits=np.array([[4, 0, 0], [0, 4, 0]] * 60, dtype=np.float32),
        num_tokens=np.full(120, 5),
    )
    train_lexical_branch(model, labels, DistillationConfig())
    found = model.predict(["fox", "dog"], ["dog", "fox"], policy=ExitPolicy.from_exit_layer(0, num_layers=4))
    assert found.predictions == ["label 0", "label 1"]


# -- what cannot be taught ------------------------------------------------------------------------------


def test_a_size_that_holds_no_ngram_a_label_is_refused():
    with pytest.raises(ParameterError, match=r"`lexical_size` 0\.001 MB holds \d+ n-grams, fewer than"):
        check_lexical_branch(megabytes=0.001, num_labels=77, num_texts=1000)


def test_fewer_texts_than_labels_are_refused():
    with pytest.raises(InputError, match=r"76 texts to train on are too few .* of 77 labels"):
        check_lexical_branch(megabytes=64, num_labels=77, num_texts=76)


def test_what_asks_for_none_is_not_refused():
    check_lexical_branch(megabytes=0, num_labels=77, num_texts=1)
    check_lexical_branch(megabytes=64, num_labels=77, num_texts=77)
