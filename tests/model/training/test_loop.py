import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from model.errors import ParameterError, TrainingError
from model.training.loop import StepReport, linear_warmup_decay, training_steps
from tests.model.training.small_network import INPUTS, Network, config, fit, shuffled

# -- what is trained ----------------------------------------------------------------------------------


def test_matrices_decay_and_biases_and_norms_do_not():
    module = Network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    rates = [0.01 * linear_warmup_decay(step, total_steps=10, warmup=0.1) for step in range(10)]
    fit(module, config(weight_decay=0.5), lambda _: sum(p.sum() for p in module.parameters()) * 0)
    shrunk = math.prod(1 - rate * 0.5 for rate in rates)
    assert shrunk < 0.99
    for name, value in module.state_dict().items():
        expected = before[name] * shrunk if value.ndim >= 2 else before[name]
        torch.testing.assert_close(value, expected)


def test_what_is_frozen_stays_bit_for_bit():
    module = Network()
    module.layers[0].requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fit(module, config(), lambda _: module(INPUTS).square().mean())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("layers.0"), name


def test_gradients_are_scaled_down_to_the_norm():
    module = nn.Linear(4, 4)
    norms = []

    def norm(_):
        norms.append(float(torch.cat([p.grad.flatten() for p in module.parameters()]).norm()))

    fit(
        module,
        config(max_grad_norm=0.25),
        lambda _: 1000 * module.weight.sum() + module.bias.sum(),
        on_step=norm,
    )
    assert norms == pytest.approx([0.25] * 10, rel=1e-4)


class TwoParts(nn.Module):
    """Two models that are trained beside each other."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.first, self.second = nn.Linear(3, 2), nn.Linear(3, 2)

    def steps(self, *, scales):
        """Train; `scales` are what the losses of the two are multiplied by."""

        def backward(rows):
            losses = [
                scale * part(INPUTS[rows]).square().mean()
                for scale, part in zip(scales, (self.first, self.second), strict=True)
            ]
            torch.stack(losses).sum().backward()
            return torch.stack(losses).detach()

        return training_steps(
            self,
            config(),
            batches=shuffled,
            steps_per_epoch=6,
            backward=backward,
            parts={"first": self.first, "second": self.second},
        )


def norm_of(module):
    return float(torch.cat([p.grad.flatten() for p in module.parameters()]).norm())


def test_the_gradients_of_each_part_are_scaled_down_to_the_norm():
    module = TwoParts()
    for _ in module.steps(scales=(1000, 1e-3)):
        assert norm_of(module.first) == pytest.approx(1.0, rel=1e-4)
        assert 0 < norm_of(module.second) < 0.1


@pytest.mark.parametrize("scale", [1e3, 1e12])
def test_a_parts_steps_are_the_same_whatever_anothers_gradients(scale):
    alone, beside = TwoParts(), TwoParts()
    losses = [report.loss for report in alone.steps(scales=(1, 1))]
    scaled = [report.loss for report in beside.steps(scales=(1, scale))]
    assert torch.equal(alone.first.weight, beside.first.weight)
    assert torch.equal(alone.first.bias, beside.first.bias)
    assert len(losses) == len(scaled) == 12
    assert scaled[0] > losses[0]


@pytest.mark.parametrize(
    ("scale", "quantity"), [(math.nan, "loss of step 1 is nan"), (math.inf, "loss of step 1 is inf")]
)
def test_a_loss_that_is_not_finite_names_its_part_and_no_part_takes_the_step(scale, quantity):
    module = TwoParts()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(TrainingError, match=f"^second: the {quantity}; lower `learning_rate` 0.01"):
        list(module.steps(scales=(1, scale)))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_gradient_that_is_not_finite_names_its_part():
    module = TwoParts()
    with torch.no_grad():
        module.second.weight.zero_()
        module.second.bias.zero_()

    def backward(_):
        losses = torch.stack([module.first.weight.sum(), module.second.weight.sqrt().sum()])
        losses.sum().backward()
        return losses.detach()

    steps = training_steps(
        module,
        config(),
        batches=shuffled,
        steps_per_epoch=6,
        backward=backward,
        parts={"first": module.first, "second": module.second},
    )
    before = module.first.weight.clone()
    with pytest.raises(TrainingError, match=r"^second: the gradient of step 1 is inf"):
        list(steps)
    assert torch.equal(module.first.weight, before)


def test_the_callers_random_numbers_are_given_back_at_every_step():
    module = nn.Linear(3, 2)
    before, drawn = torch.get_rng_state(), []

    def backward(_):
        drawn.append(float(torch.rand(())))
        loss = module.weight.sum()
        loss.backward()
        return loss.detach()

    for _ in training_steps(module, config(epochs=1), batches=shuffled, steps_per_epoch=6, backward=backward):
        assert torch.equal(torch.get_rng_state(), before)
    assert len(set(drawn)) == 6
    assert module.weight.grad is None


def test_training_learns():
    module, targets = nn.Linear(3, 1), INPUTS @ torch.tensor([1.0, -2.0, 0.5])
    losses = []
    fit(
        module,
        config(epochs=20, learning_rate=0.1, weight_decay=0),
        lambda rows: (module(INPUTS[rows])[:, 0] - targets[rows]).square().mean(),
        steps_per_epoch=6,
        batches=shuffled,
        on_step=lambda report: losses.append(report.loss),
    )
    assert losses[-1] < 0.01 * losses[0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_training_before_the_step_is_taken(value):
    module = Network()
    told = []

    def loss(step):
        return module(INPUTS).sum() * (value if step == 3 else 1)

    with pytest.raises(
        TrainingError, match=r"the loss of step 4 is .*; lower `learning_rate` 0\.01, or see"
    ) as caught:
        fit(module, config(), loss, on_step=told.append)
    assert "\n" not in str(caught.value)
    assert len(told) == 3
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_gradients_that_are_not_finite_end_training_too():
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.zero_()
    with pytest.raises(TrainingError, match="the gradient of step 1 is inf; lower `learning_rate`"):
        fit(module, config(), lambda _: module.weight.sqrt().sum())
    assert module.weight.item() == 0


# -- the learning rate --------------------------------------------------------------------------------


@given(st.integers(1, 300), st.floats(0, 1))
def test_the_schedule_rises_to_its_peak_and_falls_over_all_steps(total_steps, warmup):
    shares = [
        linear_warmup_decay(step, total_steps=total_steps, warmup=warmup) for step in range(total_steps)
    ]
    peak = shares.index(max(shares))
    assert max(shares) == 1
    assert min(shares) > 0  # no step is taken in vain
    assert all(a < b for a, b in pairwise(shares[: peak + 1]))
    assert all(a >= b for a, b in pairwise(shares[peak:]))
    assert abs(peak - total_steps * warmup) <= 1
    if warmup < 1 and peak < total_steps - 2:
        assert shares[-1] < 1


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
def test_each_step_is_taken_at_the_rate_of_the_schedule(epochs, warmup):
    module = nn.Linear(1, 1, bias=False)
    weights = [module.weight.item()]
    reports: list[StepReport] = []

    def on_step(report):
        weights.append(module.weight.item())
        reports.append(report)

    # Under a constant gradient AdamW moves by the learning rate.
    fit(
        module,
        config(epochs=epochs, warmup=warmup, weight_decay=0, max_grad_norm=1),
        lambda _: module.weight.sum(),
        on_step=on_step,
    )
    total = 5 * epochs
    assert [(report.step, report.total_steps) for report in reports] == [
        (step, total) for step in range(1, total + 1)
    ]
    moved = [before - after for before, after in pairwise(weights)]
    expected = [0.01 * linear_warmup_decay(step, total_steps=total, warmup=warmup) for step in range(total)]
    assert moved == pytest.approx(expected, rel=1e-3)
    assert max(moved) == pytest.approx(0.01, rel=1e-3)


def test_epochs_are_told_from_1_and_each_gets_its_own_batches():
    asked, told = [], []
    module = nn.Linear(1, 1)

    def batches(epoch):
        asked.append(epoch)
        return range(3)

    fit(
        module,
        config(epochs=3),
        lambda _: module.weight.sum(),
        steps_per_epoch=3,
        batches=batches,
        on_epoch=told.append,
    )
    assert asked == [0, 1, 2]
    assert told == [1, 2, 3]


def test_a_wrong_number_of_batches_is_noticed():
    module = nn.Linear(1, 1)
    with pytest.raises(AssertionError, match="as many batches"):
        fit(module, config(), lambda _: module.weight.sum(), batches=lambda _: range(4), steps_per_epoch=5)


# -- configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs", 0),
        ("epochs", -1),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", -1e-5),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("warmup", -0.1),
        ("warmup", 1.1),
        ("warmup", math.nan),
        ("weight_decay", -0.01),
        ("weight_decay", math.nan),
        ("max_grad_norm", 0.0),
        ("max_grad_norm", math.nan),
    ],
)
def test_an_impossible_option_is_refused_by_its_name(option, value):
    with pytest.raises(ParameterError, match=f"`{option}` {value}"):
        config(**{option: value})


@pytest.mark.parametrize("seed", [-1, 2**31, 2**70])
def test_a_seed_that_generators_may_not_take_is_refused(seed):
    with pytest.raises(ParameterError, match=f"`seed` {seed} is not between 0 and 2147483647"):
        config(seed=seed)
