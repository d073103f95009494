import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from model.training.branch_learners import (
    MIN_FALL,
    NUM_ROUNDS,
    BranchLearners,
    steps_per_round,
)


def learners(count=2, *, rest_when_converged=True):
    branches = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(count))
    with torch.no_grad():
        for branch in branches:
            branch.weight.zero_()
    return BranchLearners(branches, rest_when_converged=rest_when_converged)


def set_weights(made, value):
    with torch.no_grad():
        for branch in made.branches:
            branch.weight.fill_(value)


@given(st.integers(1, 10**7))
def test_a_round_is_a_whole_number_of_epochs_or_an_even_part_of_one(steps_per_epoch):
    steps = steps_per_round(steps_per_epoch)
    assert 100 <= steps <= 2000
    assert steps % steps_per_epoch == 0 or steps_per_epoch > 2000
    if steps_per_epoch > 2000:
        assert -(-steps_per_epoch // steps) == -(-steps_per_epoch // 2000)


@pytest.mark.parametrize("num_steps", [40, 400, 4000])
def test_the_average_is_over_about_the_last_tenth_of_the_steps(num_steps):
    made = learners(1)
    for step in range(num_steps):
        set_weights(made, float(step))
        made.count_step()
    behind = num_steps - made.averages[0].weight.item()
    assert 0.05 * num_steps < behind < 0.15 * num_steps + 4


def test_averages_follow_from_the_first_step_on():
    made = learners(1)
    set_weights(made, 3.0)
    made.count_step()
    assert made.averages[0].weight.item() == pytest.approx(3.0, rel=0.05)
    made.finish()
    assert made.branches[0].weight.item() == made.averages[0].weight.item()


def test_the_state_with_the_lowest_kl_is_kept():
    made = learners(2)
    for weight, kls in ((1.0, (0.5, 0.9)), (2.0, (0.4, 0.1)), (3.0, (0.6, 0.5))):
        with torch.no_grad():
            for average in made.averages:
                average.weight.fill_(weight)
        made.judge(kls)
    made.finish()
    assert [branch.weight.item() for branch in made.branches] == [2.0, 2.0]
    assert made.best_kl.tolist() == [0.4, 0.1]


def fall(made, *kls):
    for kl in kls:
        made.judge([kl] * len(made.branches))


def test_a_branch_converges_when_its_kl_falls_no_more_over_some_rounds():
    made = learners(1)
    fall(made, 1.0, 0.9, 0.8)
    assert made.falls.isnan().all()
    assert not made.has_converged.any()
    fall(made, 0.7)
    assert made.falls.tolist() == pytest.approx([0.3])
    fall(made, *[0.7 * (1 - MIN_FALL / 2)] * (NUM_ROUNDS - 1))
    assert not made.has_converged.any()
    fall(made, 0.7 * (1 - MIN_FALL / 2))
    assert made.has_converged.all()
    assert made.is_resting.all()


def test_a_branch_that_rests_stays_as_it_is():
    made = learners(2)
    for kl in (1.0, 0.9, 0.8, 0.7, 0.6):
        made.judge([kl, 1.0])
    assert made.is_resting.tolist() == [False, True]
    set_weights(made, 5.0)
    made.count_step()
    assert made.averages[0].weight.item() > 1
    assert made.averages[1].weight.item() == 0
    made.judge([0.5, 0.0001])
    assert made.best_kl.tolist() == [0.5, 1.0]
    assert made.falls.tolist() == pytest.approx([1 - 0.5 / 0.8, 0])


def test_none_rests_where_the_number_of_epochs_is_given():
    made = learners(1, rest_when_converged=False)
    fall(made, 1.0, 1.0, 1.0, 1.0)
    assert made.has_converged.all()
    assert not made.is_resting.any()
    fall(made, 0.5)
    assert not made.has_converged.any()
    assert made.best_kl.tolist() == [0.5]


def test_its_state_is_all_that_training_goes_on_from():
    made, again = learners(2), learners(2)
    set_weights(made, 5.0)
    made.count_step()
    fall(made, 1.0, 1.0, 1.0, 1.0)
    again.load_state_dict(made.state_dict())
    for name, value in made.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert again.is_resting.all()
    assert {name for name, p in made.named_parameters() if p.requires_grad} == {
        "branches.0.weight",
        "branches.1.weight",
    }
