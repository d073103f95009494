from copy import deepcopy

import pytest
import torch
from torch import nn

from model.checkpoints.identity import ModelIdentity


def known(module):
    identity = ModelIdentity()
    identity.set_checkpoint(module, "abc")
    return identity


def test_a_checkpoints_weights_are_known_by_its_hash():
    module = nn.Linear(300, 7)
    identity = known(module)
    assert identity.of(module) == identity.of(module) == "abc"
    assert identity.is_checkpoint(module)


def test_weights_of_no_checkpoint_have_a_name_of_their_own():
    one, other = nn.Linear(2, 3), nn.Linear(2, 3)
    identity = ModelIdentity()
    assert identity.of(one) == identity.of(one)
    assert identity.of(one) != ModelIdentity().of(other)
    assert not identity.is_checkpoint(one)


def step(module):
    module(torch.ones(1, 300)).sum().backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()


def one_value(module):
    with torch.no_grad():
        module.weight[3, 1] += 1e-6


CHANGES = {
    "a step": step,
    "one value": one_value,
    "a buffer": lambda module: module.register_buffer("seen", torch.zeros(1)),
    "other weights loaded": lambda module: module.load_state_dict(module.state_dict()),
    "16 bits": lambda module: module.to(torch.bfloat16),
    "16 bits and back": lambda module: module.to(torch.bfloat16).to(torch.float32),
    # Torch does not count this one; it shows in the values.
    "data": lambda module: module.weight.data.neg_(),
    "another parameter": lambda module: setattr(module, "weight", nn.Parameter(torch.zeros(7, 300))),
}
NO_CHANGES = {
    "device": lambda module: module.to("cpu"),
    "mode": lambda module: module.train(),
    "gradients": lambda module: module(torch.ones(1, 300)).sum().backward(),
    "frozen": lambda module: module.requires_grad_(False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_weights_changes_their_name(name):
    module = nn.Linear(300, 7)
    identity = known(module)
    CHANGES[name](module)
    changed = identity.of(module)
    assert changed != "abc"
    assert identity.of(module) == changed
    assert not identity.is_checkpoint(module)
    one_value(module)
    assert identity.of(module) not in {"abc", changed}


@pytest.mark.parametrize("name", NO_CHANGES)
def test_what_does_not_change_weights_does_not(name):
    module = nn.Linear(300, 7)
    identity = known(module)
    NO_CHANGES[name](module)
    assert identity.of(module) == "abc"


def test_weights_without_values_or_without_versions_have_names_too():
    assert ModelIdentity().of(nn.Linear(2, 2, device="meta"))
    with torch.inference_mode():
        module = nn.Linear(2, 2)
    identity = known(module)
    assert identity.of(module) == "abc"
    with torch.inference_mode():
        module.weight.zero_()
    assert identity.of(module) != "abc"


def test_a_copy_that_is_changed_is_another():
    module = nn.Linear(300, 7)
    identity = known(module)
    other = deepcopy(module)
    one_value(other)
    assert identity.of(other) != "abc"


def test_weights_that_are_no_numbers_are_known_all_the_same():
    module = nn.Linear(300, 7)
    with torch.no_grad():
        module.weight.fill_(torch.nan)
    identity = known(module)
    assert identity.of(module) == identity.of(module) == "abc"
