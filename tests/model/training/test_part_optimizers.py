from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import torch
from torch import nn

from model.training.part_optimizers import PartOptimizers, make_optimizer
from tests.model.training.small_network import INPUTS, Network, config


def test_every_trainable_parameter_is_in_the_optimizer_once():
    module = Network()
    module.layers[0].requires_grad_(False)
    decays, other = make_optimizer(module, config(weight_decay=0.3)).param_groups
    assert (decays["weight_decay"], other["weight_decay"]) == (0.3, 0.0)
    assert decays["params"] == [module.layers[4].weight]
    assert {id(p) for p in other["params"]} == {
        id(p) for p in (module.layers[1].weight, module.layers[1].bias, module.layers[4].bias)
    }


@pytest.fixture
def parts():
    """Three models of three kinds."""
    torch.manual_seed(3)
    return nn.ModuleDict(
        {"a": nn.Linear(3, 4), "b": nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 2)), "c": Network()}
    )


def add_gradients(parts, *, without=()):
    """Add the gradients of a loss of each part, and return the losses."""
    losses = []
    for number, (name, part) in enumerate(parts.items()):
        loss = (number + 1) * part.eval()(INPUTS).square().mean()
        if name not in without:
            loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses)


def step(parts, optimizers, number=1, **options):
    optimizers.zero_grad()
    optimizers.step(add_gradients(parts, **options), share=0.5, number=number)


def values(parts):
    return {name: value.clone() for name, value in parts.state_dict().items()}


def side_by_side(function, items):
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(function, items))


def test_parts_that_are_stepped_side_by_side_end_with_the_same_bits(parts):
    before = values(parts)
    found = []
    for options in ({}, {"parallel_map": side_by_side}):
        parts.load_state_dict(before)
        optimizers = PartOptimizers(dict(parts), config(), **options)
        for number in range(1, 6):
            step(parts, optimizers, number)
        found.append(values(parts))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert not all(torch.equal(value, before[name]) for name, value in found[0].items())


def test_the_moments_are_numbered_as_those_of_one_optimizer_of_all_parts(parts):
    """As states were saved before the parts had optimizers of their own."""
    optimizers, one = PartOptimizers(dict(parts), config()), make_optimizer(parts, config())
    assert optimizers.moments == {}
    optimizers.zero_grad()
    optimizers.step(losses := add_gradients(parts), share=1.0, number=1)
    assert losses.shape == (3,)
    # Its gradients are the clipped ones.
    one.step()
    expected = one.state_dict()["state"]
    moments = optimizers.moments
    assert moments.keys() == expected.keys()
    for number, known in expected.items():
        assert moments[number].keys() == known.keys()
        for name, value in known.items():
            assert torch.equal(moments[number][name], value), (number, name)


def test_who_takes_the_moments_goes_on_with_the_same_bits(parts):
    optimizers = PartOptimizers(dict(parts), config())
    # One part has no moments yet.
    step(parts, optimizers, without=("b",))
    saved, moments = values(parts), deepcopy(optimizers.moments)
    step(parts, optimizers, 2)
    expected = values(parts)
    parts.load_state_dict(saved)
    resumed = PartOptimizers(dict(parts), config())
    resumed.restore(moments)
    step(parts, resumed, 2)
    assert all(torch.equal(value, expected[name]) for name, value in values(parts).items())


def test_a_part_without_gradients_takes_no_step(parts):
    before = values(parts)
    step(parts, PartOptimizers(dict(parts), config()), without=("b",))
    for name, value in values(parts).items():
        assert torch.equal(value, before[name]) == name.startswith("b."), name
