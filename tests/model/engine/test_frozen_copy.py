import pytest
import torch
from torch import nn

from model.engine.frozen_copy import frozen_copy


@pytest.fixture
def module():
    """A module with a tied parameter, an integer and a floating buffer, and dropout, in training."""
    embedding, head = nn.Embedding(5, 3), nn.Linear(3, 5)
    parts = {"norm": nn.BatchNorm1d(3), "embedding": embedding, "head": head, "drop": nn.Dropout()}
    module = nn.ModuleDict(parts)
    module["head"].weight = module["embedding"].weight
    return module.train()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_copy_is_frozen_and_converted(module, dtype):
    copied = frozen_copy(module, device="cpu", dtype=dtype)
    assert {parameter.dtype for parameter in copied.parameters()} == {dtype}
    assert copied["norm"].running_mean.dtype is dtype
    assert copied["norm"].num_batches_tracked.dtype is torch.int64
    assert not any(part.training for part in copied.modules())
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    for name, tensor in module.state_dict().items():
        assert torch.equal(copied.state_dict()[name], tensor.to(copied.state_dict()[name].dtype)), name


def test_constants_keep_their_format(module):
    module["drop"].register_buffer("frequencies", torch.rand(3), persistent=False)
    copied = frozen_copy(module, device="cpu", dtype=torch.bfloat16)
    assert torch.equal(copied["drop"].frequencies, module["drop"].frequencies)
    assert frozen_copy(module, device="meta", dtype=torch.float16)["drop"].frequencies.is_meta


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_module_stays_as_it_is(module, dtype, snapshot_of):
    before = snapshot_of(module)
    frozen_copy(module, device="cpu", dtype=dtype)
    assert snapshot_of(module) == before


def test_what_is_not_converted_takes_no_memory(module):
    same = frozen_copy(module, device="cpu", dtype=torch.float32)
    other = frozen_copy(module, device="cpu", dtype=torch.bfloat16)
    for name, tensor in module.state_dict().items():
        assert same.state_dict()[name].data_ptr() == tensor.data_ptr(), name
        is_shared = other.state_dict()[name].data_ptr() == tensor.data_ptr()
        assert is_shared is not tensor.is_floating_point(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tied_parameters_stay_tied(module, dtype):
    copied = frozen_copy(module, device="cpu", dtype=dtype)
    assert copied["head"].weight is copied["embedding"].weight
    assert copied["head"].weight is not module["head"].weight


def test_a_copy_may_be_on_another_device(module):
    copied = frozen_copy(module, device="meta", dtype=torch.float16)
    assert {tensor.device.type for tensor in copied.state_dict().values()} == {"meta"}
