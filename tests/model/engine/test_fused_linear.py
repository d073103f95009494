import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN

from model.engine.fused_linear import OneDnnLinear, TorchLinear, has_onednn

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}
ACTIVATIONS = [None, "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "gelu_fast", "tanh"]


@pytest.fixture(params=[TorchLinear, OneDnnLinear])
def linear(request):
    return request.param


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rows", [1, 3, 70])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.no_grad()
def test_it_is_the_product_the_activation_and_the_residual(linear, dtype, rows, with_residual, activation):
    if linear is OneDnnLinear and not has_onednn(dtype):
        pytest.skip("this machine has no packed oneDNN products of this format")
    generator = torch.Generator().manual_seed(rows)
    states, weight, bias, residual = (
        torch.randn(shape, generator=generator).to(dtype)
        for shape in ((rows, 20), (30, 20), (30,), (rows, 30))
    )
    function = nn.Tanh() if activation == "tanh" else ACT2FN[activation] if activation else None
    expected = functional.linear(states.float(), weight.float(), bias.float())
    expected = function(expected) if function else expected
    given, kept = (residual, residual.clone()) if with_residual else (None, None)
    if given is not None:
        expected = expected + residual.float()
    found = linear(weight, bias, function)(states, given)
    assert found.dtype is dtype
    torch.testing.assert_close(found.float(), expected, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])
    assert given is None or torch.equal(given, kept)


def test_a_build_without_the_private_operators_is_told(monkeypatch):
    class Nothing:
        def __getattr__(self, name):
            raise AttributeError(name)

    monkeypatch.setattr("model.engine.fused_linear.torch.ops", type("Ops", (), {"mkldnn": Nothing()})())
    assert not has_onednn.__wrapped__(torch.float32)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda states, *_: torch.zeros(len(states), 24),
        lambda *_: 1 / 0 if False else torch.full((24, 24), torch.nan),
    ],
)
def test_operators_that_compute_something_else_are_not_taken(monkeypatch, wrong):
    monkeypatch.setattr(OneDnnLinear, "__call__", lambda _, *inputs: wrong(*inputs))
    assert not has_onednn.__wrapped__(torch.float32)
