import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from torch.nn import functional

from model.answers.task import Task
from model.engine.engine import Engine
from model.engine.execution import Precision, resolve_execution
from model.exits.exit_logits import LayerStates, all_exit_logits
from model.tokens.packing import micro_batches
from model.tokens.tokenization import tokenize
from model.training.distillation_config import KlDirection
from model.training.labelled_texts import NO_LABEL
from model.training.loop import training_steps
from model.training.self_distillation import (
    BranchQuality,
    branch_gradients,
    branch_qualities,
    self_distillation_loss,
)
from model.training.training_config import TrainingConfig
from tests.plain_early_exit import plain_exits

SHAPE = st.tuples(st.integers(1, 6), st.integers(2, 9))
TWO_LOGITS = SHAPE.flatmap(
    lambda shape: st.tuples(
        *[nps.arrays(np.float32, shape, elements=st.floats(-15, 15, width=32)).map(torch.from_numpy)] * 2
    )
)


def kl_by_hand(first: torch.Tensor, second: torch.Tensor) -> float:
    """KL(first || second), mean over rows, in float64."""
    p, q = first.double().softmax(1), second.double().softmax(1)
    return float((p * (p / q).log()).sum(1).mean())


@given(TWO_LOGITS)
def test_the_authors_direction_is_kl_of_the_teacher_to_the_student(logits):
    student, teacher = logits
    loss = self_distillation_loss(student, teacher)
    assert loss.item() == pytest.approx(kl_by_hand(teacher, student), rel=1e-3, abs=1e-5)


@given(TWO_LOGITS)
def test_the_papers_direction_is_the_other_way_round(logits):
    student, teacher = logits
    loss = self_distillation_loss(student, teacher, direction=KlDirection.STUDENT_TEACHER)
    assert loss.item() == pytest.approx(kl_by_hand(student, teacher), rel=1e-3, abs=1e-5)


@given(TWO_LOGITS, st.floats(0, 3))
def test_hard_labels_add_the_cross_entropy_with_the_teachers_answer(logits, weight):
    student, teacher = logits
    hard = functional.cross_entropy(student, teacher.argmax(1))
    loss = self_distillation_loss(student, teacher, hard_label_weight=weight)
    expected = self_distillation_loss(student, teacher) + weight * hard
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


@given(TWO_LOGITS, st.sampled_from(KlDirection), st.floats(-5, 5))
def test_is_0_for_equal_answers_and_never_below(logits, direction, shift):
    student, teacher = logits
    assert self_distillation_loss(student + shift, student, direction=direction).item() == pytest.approx(
        0, abs=1e-5
    )
    assert self_distillation_loss(student, teacher, direction=direction).item() >= -1e-6


def test_the_directions_differ():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 0.0]])
    one, other = (self_distillation_loss(student, teacher, direction=which).item() for which in KlDirection)
    assert abs(one - other) > 0.1


def test_is_the_mean_over_the_texts():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 7, 4, generator=generator)
    rows = [self_distillation_loss(student[row : row + 1], teacher[row : row + 1]) for row in range(7)]
    torch.testing.assert_close(self_distillation_loss(student, teacher), torch.stack(rows).mean())


def test_half_precision_logits_are_compared_in_float32():
    student, teacher = torch.tensor([[1.5, -2.0, 0.25]]), torch.tensor([[0.5, 2.0, -4.0]])
    loss = self_distillation_loss(student.half(), teacher.bfloat16())
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, self_distillation_loss(student, teacher))


def test_certain_answers_give_no_nan():
    certain, other = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    for direction in KlDirection:
        assert self_distillation_loss(certain, certain, direction=direction).item() == 0
        assert torch.isfinite(self_distillation_loss(certain, other, direction=direction))


@pytest.fixture
def model(make_fastbert):
    """As `jobs.distill` sets it up, its backbone having dropout to make mistakes with."""
    model = make_fastbert("bert")
    assert model.config.backbone_config.hidden_dropout_prob > 0
    model.requires_grad_(False)
    model.branches.requires_grad_(True)
    model.branches.train()
    return model


@pytest.fixture
def batch(model, texts, make_engine):
    """Tokenised texts, longest first, and what the teacher says to them."""
    tokenized = tokenize(model.tokenizer, texts, max_length=48)
    tokenized = tokenized.take(np.argsort(-tokenized.lengths, kind="stable"))
    return tokenized, torch.from_numpy(all_exit_logits(make_engine(model), tokenized)[:, -1])


def losses_of(
    model,
    batch,
    direction=KlDirection.TEACHER_STUDENT,
    hard_label_weight=0.0,
    is_left_out=(False, False, False),
    precision=Precision.FP32,
):
    engine = model.engine(resolve_execution(precision, device="cpu"), num_cores=1)
    texts, teacher = batch
    return branch_gradients(
        model.branches,
        engine,
        LayerStates(engine, texts),
        slice(None),
        teacher,
        is_left_out=is_left_out,
        direction=direction,
        hard_label_weight=hard_label_weight,
    )


@pytest.mark.parametrize("direction", KlDirection)
@pytest.mark.parametrize("hard_label_weight", [0.0, 0.7])
def test_there_is_one_loss_a_branch_that_of_its_answers(
    model, batch, make_engine, direction, hard_label_weight
):
    exits = torch.from_numpy(all_exit_logits(make_engine(model, token_budget=90), batch[0]))
    expected = [
        self_distillation_loss(
            exits[:, layer], batch[1], direction=direction, hard_label_weight=hard_label_weight
        )
        for layer in range(3)
    ]
    losses = losses_of(model, batch, direction, hard_label_weight)
    torch.testing.assert_close(losses, torch.stack(expected), rtol=0, atol=2e-5)


def test_the_backbone_has_no_dropout_while_the_branches_train(model, batch):
    torch.testing.assert_close(losses_of(model, batch), losses_of(model, batch), rtol=0, atol=0)
    assert not model.backbone.training


def test_each_branch_gets_the_gradients_of_its_own_loss_and_the_backbone_none(model, batch):
    model.requires_grad_(True)  # even so
    losses_of(model, batch)
    found = {name: p.grad for name, p in model.named_parameters()}
    # A key's bias changes no answer.
    without = {name for name in found if name.startswith("backbone.") or name.endswith("key.bias")}
    assert {name for name in found if found[name] is None} == without
    model.zero_grad()
    texts, teacher = batch
    (micro_batch,) = micro_batches(texts.lengths, 10_000)
    attention_mask = micro_batch.attention_mask(torch.device("cpu"))
    ids = micro_batch.pad(torch.from_numpy(texts.input_ids))
    with torch.no_grad():
        states = model.backbone(ids, attention_mask=attention_mask, output_hidden_states=True).hidden_states[
            1:-1
        ]
    for branch, hidden in zip(model.branches, states, strict=True):
        self_distillation_loss(branch(hidden, attention_mask), teacher).backward()
    for name, parameter in model.named_parameters():
        if name not in without:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-6)


def test_in_bfloat16_the_gradients_are_those_of_float32_but_for_rounding(model, batch):
    def gradients(precision):
        model.branches.zero_grad()
        losses_of(model, batch, precision=precision)
        return [
            torch.cat([p.grad.flatten() for p in branch.parameters() if p.grad is not None])
            for branch in model.branches
        ]

    for exact, rounded in zip(gradients(Precision.FP32), gradients(Precision.BF16), strict=True):
        assert rounded.dtype == torch.float32
        assert not torch.equal(rounded, exact)
        assert functional.cosine_similarity(rounded, exact, dim=0) > 0.999
        assert rounded.norm() == pytest.approx(float(exact.norm()), rel=0.03)


def test_a_branch_that_is_left_out_learns_nothing(model, batch):
    whole = losses_of(model, batch)
    model.branches.zero_grad()
    losses = losses_of(model, batch, is_left_out=(False, True, False))
    assert losses.tolist() == [whole[0], 0, whole[2]]
    learns = [any(p.grad is not None for p in branch.parameters()) for branch in model.branches]
    assert learns == [True, False, True]


def test_the_last_layer_is_not_run(model, batch, monkeypatch):
    monkeypatch.setattr(Engine, "run_last_layer", lambda *_: 1 / 0)
    losses_of(model, batch)


def test_training_the_branches_leaves_the_backbone_bit_for_bit(model, batch):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    steps = training_steps(
        model.branches,
        TrainingConfig(epochs=60, learning_rate=3e-3, batch_size=18),
        batches=lambda _: [batch],
        steps_per_epoch=1,
        backward=lambda batch: losses_of(model, batch).sum(),
    )
    losses = [report.loss for report in steps]
    assert losses[-1] < 0.5 * losses[0]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("backbone."), name


def test_qualities_are_each_branchs_divergence_and_agreement(model, texts, make_engine):
    tokenized = tokenize(model.tokenizer, texts, max_length=48)
    exits = torch.from_numpy(np.stack([plain_exits(model, text) for text in texts]))
    teacher = exits[:, -1]
    qualities = branch_qualities(make_engine(model, token_budget=70), tokenized, teacher.numpy())
    assert [quality.layer for quality in qualities] == [1, 2, 3]
    for quality in qualities:
        student = exits[:, quality.layer - 1]
        assert quality.kl == pytest.approx(kl_by_hand(teacher, student), rel=1e-3)
        same = sum(int(a.argmax() == b.argmax()) for a, b in zip(student, teacher, strict=True))
        assert quality.agreement == pytest.approx(same / len(texts))
    assert len({quality.agreement for quality in qualities}) > 1


def test_a_branch_that_is_the_teacher_has_no_divergence(model, texts, make_engine):
    tokenized = tokenize(model.tokenizer, texts, max_length=48)
    own = all_exit_logits(make_engine(model, token_budget=70), tokenized)[:, 1]
    quality = branch_qualities(make_engine(model), tokenized, own)[1]
    assert quality.kl == pytest.approx(0, abs=1e-6)
    assert quality.agreement == 1


def test_of_scores_that_are_all_alike_a_branch_knows_nothing():
    answers = torch.tensor([[3.5, 0.0], [2.5, 0.0]])
    quality = BranchQuality.of(1, answers, torch.full((2, 1), 3.0), task=Task.SCORE)
    assert quality.agreement == 0
    assert math.isfinite(quality.kl)


def test_true_labels_are_added_where_texts_have_them():
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 3), torch.randn(4, 3)
    labels = torch.tensor([2, NO_LABEL, NO_LABEL, 0])
    loss = self_distillation_loss(student, teacher, true_labels=labels, true_label_weight=0.5)
    wrong = -(student.log_softmax(-1)[0, 2] + student.log_softmax(-1)[3, 0])
    torch.testing.assert_close(loss, self_distillation_loss(student, teacher) + 0.5 * wrong / 4)
    none = self_distillation_loss(
        student, teacher, true_labels=torch.full((4,), NO_LABEL), true_label_weight=0.5
    )
    torch.testing.assert_close(none, self_distillation_loss(student, teacher))
