"""As a Python user trains branches: a model in memory, texts in memory, no files."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.engine.execution import Precision, resolve_execution
from model.errors import InputError, ParameterError, TrainingError
from model.exits.teacher import Teacher
from model.tokens.tokenization import tokenize
from model.training import branch_learners
from model.training.branch_learners import MIN_FALL, NUM_ROUNDS
from model.training.branches import backbone_engine, train_branches
from model.training.distillation_config import DistillationConfig, KlDirection, max_epochs
from model.training.distillation_result import Advice
from model.training.resume import TrainingState
from model.training.self_distillation import branch_qualities
from model.training.soft_labelled_texts import SoftLabelledTexts

FP32 = resolve_execution(Precision.FP32, device="cpu")
EPOCHS = 3
STEPS_PER_EPOCH = 3  # 18 texts, seven at a time


def config(**options):
    return DistillationConfig(**{"epochs": EPOCHS, "learning_rate": 3e-3, "batch_size": 7, **options})


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    """Judge after every epoch, few as its steps are."""
    monkeypatch.setattr(branch_learners, "_SHORTEST_ROUND", STEPS_PER_EPOCH)


@pytest.fixture
def model(make_fastbert):
    return make_fastbert("bert")


@pytest.fixture
def labels(model, texts):
    """The answers of the model's own last layer."""
    teacher = Teacher.of(deepcopy(model.backbone), model.tokenizer, FP32)
    return SoftLabelledTexts.from_teacher(teacher, texts, max_length=model.config.max_length)


def weights_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal(weights, expected):
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(weights[name], value), name


def test_the_branches_learn(model, labels):
    result = train_branches(model, labels, config(epochs=60), held_out=labels)
    assert [(each.step, each.epochs) for each in result.rounds] == [(3 * n, n) for n in range(1, 61)]
    first, last = result.rounds[0].branches, result.branches
    assert [branch.layer for branch in last] == [1, 2, 3]
    for before, after in zip(first, last, strict=True):
        assert after.kl < 0.5 * before.kl
        assert after.agreement >= before.agreement
    assert np.mean([b.agreement for b in last]) > np.mean([b.agreement for b in first])


# -- how long -----------------------------------------------------------------------------------------


def test_the_best_of_all_rounds_is_kept(model, labels):
    # So high a rate that branches get worse again.
    result = train_branches(model, labels, config(epochs=40, learning_rate=0.1), held_out=labels)
    for index, ended in enumerate(result.branches):
        kls = [each.branches[index].kl for each in result.rounds]
        assert ended.kl == min(kls)
    assert any(each.branches[0].kl > 1.01 * result.branches[0].kl for each in result.rounds)


def test_what_is_kept_is_what_the_model_answers(model, labels, make_engine):
    result = train_branches(
        model, labels, config(epochs=20), engine=backbone_engine(model, FP32), held_out=labels
    )
    tokenized = tokenize(model.tokenizer, labels.texts, max_length=model.config.max_length)
    found = branch_qualities(make_engine(model), tokenized, labels.logits)
    assert [q.kl for q in found] == pytest.approx([b.kl for b in result.branches], rel=1e-4)
    assert [q.agreement for q in found] == [b.agreement for b in result.branches]
    # Here they are judged by what they learn from.
    assert [b.train_kl for b in result.branches] == pytest.approx([b.kl for b in result.branches], rel=1e-4)


def test_training_ends_when_every_branch_has_converged(model, labels):
    result = train_branches(model, labels, config(epochs=None), held_out=labels)
    assert NUM_ROUNDS < len(result.rounds) < max_epochs(STEPS_PER_EPOCH)
    assert result.epochs == len(result.rounds)
    for index, ended in enumerate(result.branches):
        kls = np.array([each.branches[index].kl for each in result.rounds])
        falls = 1 - kls[NUM_ROUNDS:] / kls[:-NUM_ROUNDS]
        assert ended.has_converged
        assert ended.advice is Advice.NOTHING
        # From the round on in which it fell no more, it rests.
        (resting,) = np.flatnonzero(falls < MIN_FALL)[:1]
        assert (kls[NUM_ROUNDS + resting :] == kls[NUM_ROUNDS + resting]).all()
        assert (falls[:resting] >= MIN_FALL).all()
        assert ended.fall == pytest.approx(falls[resting])


def test_more_epochs_are_advised_where_the_branches_still_get_better(model, labels):
    result = train_branches(model, labels, config(epochs=5), held_out=labels)
    assert {(b.advice, b.has_converged) for b in result.branches} == {(Advice.MORE_EPOCHS, False)}
    assert all(b.fall > MIN_FALL for b in result.branches)


def test_before_there_were_enough_rounds_nothing_is_said_of_the_fall(model, labels):
    result = train_branches(model, labels, config(epochs=2), held_out=labels)
    assert {(b.fall, b.has_converged) for b in result.branches} == {(None, False)}


def test_more_text_is_advised_where_it_is_learnt_by_heart(model, labels):
    seen, unseen = labels.take(range(6)), labels.take(range(6, 18))
    result = train_branches(model, seen, config(epochs=None), held_out=unseen)
    assert Advice.MORE_TEXT in {branch.advice for branch in result.branches}
    for branch in result.branches:
        assert (branch.advice is Advice.MORE_TEXT) == (branch.kl > 1.5 * branch.train_kl)


def test_without_held_out_texts_the_branches_are_the_averages_of_some_epochs(model, labels):
    fresh = weights_of(model)
    result = train_branches(model, labels, config(epochs=None))
    assert (result.rounds, result.branches) == ([], ())
    assert 1 < result.epochs < max_epochs(STEPS_PER_EPOCH)
    assert any(not torch.equal(value, fresh[name]) for name, value in model.state_dict().items())


# -- what is trained, and what is not -----------------------------------------------------------------


def test_a_model_that_was_trained_is_another(model, labels):
    before = model.model_hash
    train_branches(model, labels, config(epochs=1))
    assert model.model_hash != before


def test_the_callers_random_numbers_and_gradients_stay_what_they_were(model, labels):
    before = torch.get_rng_state()
    train_branches(model, labels, config(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_nothing_to_train_on_is_refused(model, labels):
    with pytest.raises(InputError, match="no soft-labelled texts"):
        train_branches(model, labels.take([]), config())


def test_answers_of_other_labels_are_refused(model, labels):
    wide = replace(labels, logits=np.zeros((len(labels), 9), dtype=np.float32))
    with pytest.raises(InputError, match="the soft labels have 9 logits, and the model has 3 labels"):
        train_branches(model, wide, config())


def test_a_model_in_16_bits_is_refused(model, labels):
    with pytest.raises(ParameterError, match=r"branches in torch\.bfloat16; load it in float32"):
        train_branches(model.to(torch.bfloat16), labels, config())


def test_the_backbone_stays_to_the_bit_and_every_branch_is_trained(model, labels):
    before = weights_of(model)
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    train_branches(model, labels, config())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("backbone."), name
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags
    assert not model.training


def test_a_backbone_of_another_number_format_leaves_the_model_in_float32(model, labels):
    before = weights_of(model)
    engine = backbone_engine(model, resolve_execution(Precision.BF16, device="cpu"))
    train_branches(model, labels, config(), engine=engine, held_out=labels)
    assert {value.dtype for value in model.state_dict().values() if value.is_floating_point()} == {
        torch.float32
    }
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before if "backbone" in name)


def test_every_step_and_every_round_is_told(model, labels):
    told = []
    result = train_branches(
        model,
        labels,
        config(),
        held_out=labels,
        on_step=lambda report: told.append(report.step),
        on_round=told.append,
    )
    expected = []
    for each in result.rounds:
        expected += [*range(each.step - STEPS_PER_EPOCH + 1, each.step + 1), each]
    assert told == expected
    assert len(result.rounds) == EPOCHS


def test_nothing_is_judged_where_nothing_is_held_out(model, labels):
    told = []
    assert train_branches(model, labels, config(), on_round=told.append).rounds == told == []


@pytest.mark.parametrize(
    "option",
    [{"seed": 5}, {"kl_direction": KlDirection.STUDENT_TEACHER}, {"hard_label_weight": 1.0}],
    ids=str,
)
def test_the_configuration_decides_what_is_learnt(model, labels, option):
    same, other = deepcopy(model), deepcopy(model)
    train_branches(model, labels, config())
    train_branches(same, labels, config())
    train_branches(other, labels, config(**option))
    assert_equal(same.state_dict(), model.state_dict())
    assert any(not torch.equal(value, model.state_dict()[name]) for name, value in other.state_dict().items())


def test_another_models_answers_are_learnt(model, labels, texts, make_classifier):
    teacher = Teacher.of(make_classifier("bert", num_layers=5, seed=3), model.tokenizer, FP32)
    others = SoftLabelledTexts.from_teacher(teacher, texts, max_length=model.config.max_length)
    assert (others.logits.argmax(1) != labels.logits.argmax(1)).any()
    result = train_branches(model, others, config(epochs=60), held_out=others)
    assert all(
        after.kl < 0.5 * before.kl
        for before, after in zip(result.rounds[0].branches, result.branches, strict=True)
    )


def test_pairs_are_read_as_pairs(model, labels, texts):
    pairs = replace(labels, text_pairs=list(texts[::-1]))
    of_pairs = deepcopy(model)
    train_branches(model, labels, config(epochs=1))
    train_branches(of_pairs, pairs, config(epochs=1))
    assert any(
        not torch.equal(value, model.state_dict()[name]) for name, value in of_pairs.state_dict().items()
    )


# -- each branch is a model of its own ----------------------------------------------------------------


@pytest.mark.parametrize("learning_rate", [3e-3, 3e-2])
def test_a_huge_gradient_of_one_branch_leaves_the_others_steps_as_they_were(model, labels, learning_rate):
    other = deepcopy(model)
    with torch.no_grad():
        other.branches[1].classifier.weight.mul_(1e3)
    for each in (model, other):
        train_branches(each, labels, config(learning_rate=learning_rate))
    for index, (branch, same) in enumerate(zip(model.branches, other.branches, strict=True)):
        if index != 1:
            assert_equal(same.state_dict(), branch.state_dict())


def test_a_branch_that_is_not_finite_is_named_and_no_branch_takes_the_step(model, labels):
    with torch.no_grad():
        model.branches[1].dense.bias.fill_(torch.nan)
    before = weights_of(model)
    with pytest.raises(TrainingError, match=r"^branch after layer 2: the loss of step 1 is nan; lower"):
        train_branches(model, labels, config())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) or value.isnan().all(), name


# -- killed and resumed -------------------------------------------------------------------------------


class KilledError(Exception):
    """Stands in for the end of a process."""


@pytest.mark.parametrize("kill_after", range(1, EPOCHS * STEPS_PER_EPOCH + 1))
def test_a_resumed_run_ends_as_one_that_was_not_killed(model, labels, tmp_path, kill_after):
    whole, killed = deepcopy(model), deepcopy(model)
    state = TrainingState(path=tmp_path / "state.safetensors", job="a job", save_every=2)
    result = train_branches(whole, labels, config(), held_out=labels)

    def on_step(report):
        if report.step == kill_after:
            raise KilledError

    with pytest.raises(KilledError):
        train_branches(killed, labels, config(), held_out=labels, state=state, on_step=on_step)
    # As in a new process: fresh branches.
    steps = []
    resumed = train_branches(
        model, labels, config(), held_out=labels, state=state, on_step=lambda r: steps.append(r.step)
    )
    assert_equal(model.state_dict(), whole.state_dict())
    assert resumed.branches == result.branches
    assert resumed.epochs == result.epochs
    assert resumed.rounds == result.rounds[EPOCHS - len(resumed.rounds) :]
    assert len(resumed.rounds) == EPOCHS - (steps[0] - 1) // STEPS_PER_EPOCH
    assert steps == list(range(steps[0], EPOCHS * STEPS_PER_EPOCH + 1))
    assert steps[0] > kill_after - 3


def test_a_run_that_is_killed_after_a_branch_has_converged_ends_as_one_that_was_not(model, labels, tmp_path):
    whole, killed = deepcopy(model), deepcopy(model)
    state = TrainingState(path=tmp_path / "state.safetensors", job="a job", save_every=2)
    result = train_branches(whole, labels, config(epochs=None), held_out=labels)
    kill_after = int(result.rounds[-1].step) - 1

    def on_step(report):
        if report.step == kill_after:
            raise KilledError

    with pytest.raises(KilledError):
        train_branches(killed, labels, config(epochs=None), held_out=labels, state=state, on_step=on_step)
    resumed = train_branches(model, labels, config(epochs=None), held_out=labels, state=state)
    assert_equal(model.state_dict(), whole.state_dict())
    assert resumed.branches == result.branches


def test_a_finished_run_is_not_trained_again(model, labels, tmp_path):
    state = TrainingState(path=tmp_path / "state.safetensors", job="a job")
    fresh = deepcopy(model)
    train_branches(model, labels, config(), state=state)
    assert train_branches(fresh, labels, config(), held_out=labels, state=state).rounds == []
    assert_equal(fresh.state_dict(), model.state_dict())


@pytest.mark.parametrize("direction", KlDirection)
def test_a_direction_may_be_given_by_its_name(model, labels, direction):
    by_name = deepcopy(model)
    train_branches(model, labels, config(kl_direction=direction))
    train_branches(by_name, labels, config(kl_direction=str(direction.value)))
    assert_equal(by_name.state_dict(), model.state_dict())
