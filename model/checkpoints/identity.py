"""Which weights a model holds in memory: those of a checkpoint, or ones that no checkpoint has."""

from collections.abc import Hashable, Iterator
from uuid import uuid4

from torch import Tensor, nn

# Values of a tensor that are looked at, spread over it.
_SAMPLE = 64


def new_identity() -> str:
    """Return the identity of weights that no other model has."""
    return uuid4().hex


class ModelIdentity:
    """What a module's weights are bound to policies by: it is another as soon as they change.

    Training, `load_state_dict` and every other operation of torch in place count as a change, as does a
    conversion to another number format and back; moving to another device does not.
    """

    def __init__(self) -> None:
        """Begin with weights that no checkpoint has."""
        self._identity = ""
        self._weights: list[Hashable] = []
        self._is_checkpoint = False

    def set_checkpoint(self, module: nn.Module, checkpoint_hash: str) -> None:
        """Say that the weights are those of a checkpoint."""
        self._identity, self._weights, self._is_checkpoint = checkpoint_hash, list(_look(module)), True

    def of(self, module: nn.Module) -> str:
        """Return the hash of the checkpoint that the weights are of, or a name that no other weights have."""
        weights = list(_look(module))
        if weights != self._weights:
            self._identity, self._weights, self._is_checkpoint = new_identity(), weights, False
        return self._identity

    def is_checkpoint(self, module: nn.Module) -> bool:
        """Return whether the weights are still those of a checkpoint."""
        self.of(module)
        return self._is_checkpoint


def _look(module: nn.Module) -> Iterator[Hashable]:
    """Yield what shows a change of each weight, without reading all of it."""
    for name, tensor in module.state_dict(keep_vars=True).items():
        # Tensors of inference mode count no changes.
        version = -1 if tensor.is_inference() else tensor._version
        yield name, str(tensor.dtype), tuple(tensor.shape), version, _sample(tensor)


def _sample(tensor: Tensor) -> bytes:
    if tensor.is_meta:
        return b""
    flat = tensor.detach().reshape(-1)
    # As bytes, since NaN is not equal to itself.
    return bytes(flat[:: max(1, len(flat) // _SAMPLE)].double().cpu().numpy().tobytes())
