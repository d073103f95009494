"""What a killed training goes on from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from model.errors import ArtifactError


@dataclass(frozen=True, kw_only=True)
class SavedTraining:
    """What a killed training had come to.

    Attributes:
        weights: by name, on the host, as all tensors here.
        moments: what the optimizers know of each parameter, by its number; see `PartOptimizers.moments`.
        step: steps done.
    """

    weights: dict[str, Tensor]
    moments: dict[int, dict[str, Tensor]]
    step: int


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """A file from which a killed training goes on, and what it belongs to.

    Attributes:
        path: a safetensors file; replaced whole, so a kill leaves the one before.
        job: what must be equal for going on to make sense.
        save_every: steps between two saves.
    """

    path: Path
    job: str
    save_every: int = 500

    def save(self, module: nn.Module, moments: Mapping[int, Mapping[str, Tensor]], step: int) -> None:
        """Write weights, what the optimizers know, and the number of steps done."""
        tensors = {f"weight.{name}": value for name, value in module.state_dict().items()}
        for number, known in moments.items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in known.items()}
        partial = self.path.with_name(self.path.name + ".partial")
        save_file(
            _apart(tensors),
            partial,
            metadata={"step": str(step), "job": self.job},
        )
        partial.replace(self.path)

    def read(self) -> SavedTraining | None:
        """Return what `save` wrote; None where nothing was saved.

        Raises:
            ArtifactError: if another job wrote it.
        """
        if not self.path.is_file():
            return None
        with safe_open(self.path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if metadata["job"] != self.job:
            raise ArtifactError(f"{str(self.path)!r} is the state of another training; remove it")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _strip_prefix(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        return SavedTraining(
            weights=_strip_prefix(tensors, "weight."), moments=moments, step=int(metadata["step"])
        )

    def saved_job(self) -> str | None:
        """Return the job whose state is in the file, None where there is no file."""
        if not self.path.is_file():
            return None
        with safe_open(self.path, framework="pt") as file:
            return str(file.metadata()["job"])


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors of which no two share memory, as tied weights do: a file holds each once."""
    apart: dict[str, Tensor] = {}
    met: set[int] = set()
    for name, value in tensors.items():
        value = value.contiguous()
        place = value.untyped_storage().data_ptr()
        apart[name] = value.clone() if place in met else value
        met.add(place)
    return apart


def _strip_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
