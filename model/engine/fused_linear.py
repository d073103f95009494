"""Linear layers with the activation and the residual behind them, their weights made ready once.

torch's own float32 product takes its weights as they come, every time anew. oneDNN's takes weights that were
packed into the order in which its kernels read them; the operators for this are those that torch's compiler
emits for frozen weights. They are private, so `has_onednn` tries them before they are relied on.
"""

from collections.abc import Callable
from functools import cache
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import GELUActivation, GELUTanh, NewGELUActivation

Activation = Callable[[Tensor], Tensor]

# How oneDNN spells the activations that it computes while a product is still in registers.
_FUSED_ACTIVATIONS: dict[type, tuple[str, str]] = {
    GELUActivation: ("gelu", "none"),
    NewGELUActivation: ("gelu", "tanh"),
    GELUTanh: ("gelu", "tanh"),
    nn.GELU: ("gelu", "none"),
    nn.ReLU: ("relu", ""),
    nn.Tanh: ("tanh", ""),
}


# The largest `row_multiple` of all; see `OneDnnLinear`.
ROW_MULTIPLE = 32


class Linear(Protocol):
    """activation(x W' + b) + residual."""

    def __call__(self, states: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return (tokens, out_features) from (tokens, in_features), in the dtype of `states`.

        Args:
            states: contiguous.
            residual: (tokens, out_features), added last; None for nothing.
        """


class TorchLinear:
    """torch's own product, on any device and in any dtype."""

    row_multiple = 1

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: Activation | None = None) -> None:
        """Take (out_features, in_features) and (out_features,)."""
        self._weight, self._activation = weight.detach(), activation
        self._bias = None if bias is None else bias.detach()

    def __call__(self, states: Tensor, residual: Tensor | None = None) -> Tensor:
        """See `Linear`."""
        product = functional.linear(states, self._weight, self._bias)
        if self._activation is not None:
            product = self._activation(product)
        return product if residual is None else product.add_(residual)


class OneDnnLinear:
    """oneDNN's product of packed weights; activation or residual cost nearly nothing.

    A kernel is compiled for every number of rows that is met, which takes about as long as a product. So rows
    come in multiples of `ROW_MULTIPLE`; others are copied and filled up.
    """

    row_multiple = ROW_MULTIPLE
    # What a product will have, about: oneDNN chooses the order of the weights by it.
    _ROWS = 1024

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: Activation | None = None) -> None:
        """Pack (out_features, in_features); the bias is (out_features,)."""
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), self._ROWS)
        self._bias = None if bias is None else bias.detach()
        self._fused, self._algorithm = _FUSED_ACTIVATIONS.get(type(activation), ("none", ""))
        self._activation = activation if self._fused == "none" else None

    def __call__(self, states: Tensor, residual: Tensor | None = None) -> Tensor:
        """See `Linear`."""
        rows = len(states)
        missing = round_up_rows(rows, self.row_multiple) - rows
        if missing:
            states = functional.pad(states, (0, 0, 0, missing))
            residual = None if residual is None else functional.pad(residual, (0, 0, 0, missing))
        return self._product(states, residual)[:rows]

    def _product(self, states: Tensor, residual: Tensor | None) -> Tensor:
        operator = torch.ops.mkldnn._linear_pointwise
        if residual is not None and self._fused == "none" and self._activation is None:
            added: Tensor = operator.binary(states, residual, self._weight, self._bias, "add")
            return added
        product: Tensor = operator(states, self._weight, self._bias, self._fused, [], self._algorithm)
        if self._activation is not None:
            product = self._activation(product)
        return product if residual is None else product.add_(residual)


LinearType = type[TorchLinear] | type[OneDnnLinear]


def round_up_rows(rows: int, multiple: int) -> int:
    """Return the rows that are computed for `rows` where they come in multiples.

    >>> [round_up_rows(rows, 32) for rows in (1, 32, 33)]
    [32, 32, 64]
    """
    return rows + -rows % multiple


@cache
def has_onednn(dtype: torch.dtype) -> bool:
    """Return whether oneDNN's packed product is there for `dtype` and agrees with torch's own.

    False where this build of torch lacks the operators, or this processor the number format.
    """
    generator = torch.Generator().manual_seed(0)
    states, weight, other = (torch.randn(24, 24, generator=generator).to(dtype) for _ in range(3))
    bias, activation = other[0].clone(), GELUActivation()
    with torch.no_grad():
        try:
            packed, fused = OneDnnLinear(weight, bias), OneDnnLinear(weight, bias, activation)
            computed = torch.stack([packed(states), packed(states, other), fused(states)])
        except (AttributeError, RuntimeError, TypeError):
            # What a missing operator, another signature or a format without kernels raise.
            return False
        plain, gelu = TorchLinear(weight, bias), TorchLinear(weight, bias, activation)
        expected = torch.stack([plain(states), plain(states, other), gelu(states)])
    tolerance = 1e-4 if dtype is torch.float32 else 2e-2
    return torch.allclose(computed.float(), expected.float(), rtol=tolerance, atol=tolerance * 24**0.5)
