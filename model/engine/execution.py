"""Where a model runs and in which number format."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from model.engine.fused_linear import has_onednn
from model.engine.gpus import take_gpu
from model.errors import CheckpointError, EnvironmentMismatchError, ParameterError


class _Choice(StrEnum):
    """What a user chooses by its name; the parameter is called as the class is."""

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the choice of that name.

        Raises:
            ParameterError: naming those that there are.

        >>> Precision.parse("bf16"), Device.parse("cuda")
        (<Precision.BF16: 'bf16'>, <Device.CUDA: 'cuda'>)
        """
        try:
            return cls(name)
        except ValueError:
            raise ParameterError(f"`{cls.__name__.lower()}` {name!r} is none of {', '.join(cls)}") from None


class Precision(_Choice):
    """Number format of the weights and hidden states; answers are always computed in float32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"

    @classmethod
    def of(cls, dtype: torch.dtype) -> "Precision":
        """Return the precision whose dtype is `dtype`.

        >>> Precision.of(torch.bfloat16)
        <Precision.BF16: 'bf16'>
        """
        return next(precision for precision, other in _DTYPES.items() if other is dtype)


class Device(_Choice):
    """Where a model runs; which GPU of several is each process's own matter."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Backend(StrEnum):
    """Whose operators run the layers."""

    ONEDNN = "onednn"  # packed texts, weights packed for oneDNN
    TORCH = "torch"  # packed texts, torch's own operators
    HUGGING_FACE = "hugging-face"  # padded micro-batches through the model's own layers


# Tokens from which on packing the weights takes less time than it saves.
_MIN_TOKENS_TO_PACK = 4096
_DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What a job runs on, decided once and written into its manifest.

    Attributes:
        device: "cpu" or "cuda".
        precision: never AUTO.
        backend: whose operators run.
        token_budget: tokens of a micro-batch, padding included.
        chunk_bytes: hidden states of a chunk, the unit of one decision per layer.
    """

    device: str
    precision: Precision
    backend: Backend
    token_budget: int
    chunk_bytes: int

    @property
    def dtype(self) -> torch.dtype:
        """The torch dtype of `precision`."""
        return _DTYPES[self.precision]

    @property
    def fingerprint_fields(self) -> dict[str, str]:
        """What of it changes results, for a job's manifest."""
        return {"device": self.device, "precision": str(self.precision), "backend": str(self.backend)}

    def summary(self) -> str:
        """Return one line for the user.

        >>> resolve_execution(Precision.FP32, device="cpu").summary()
        'cpu, fp32 by onednn, micro-batches of 1024 tokens'
        """
        return (
            f"{self.device}, {self.precision} by {self.backend}, micro-batches of {self.token_budget} tokens"
        )


def are_finite(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which rows of (rows, num_outputs) logits are numbers, neither NaN nor infinite."""
    finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(logits).all(axis=1))
    return finite


def check_finite(logits: npt.NDArray[np.float32]) -> None:
    """Refuse answers that are no numbers.

    Args:
        logits: (rows, num_outputs).

    Raises:
        CheckpointError: saying how many texts have such an answer.
    """
    bad = int((~are_finite(logits)).sum())
    if bad:
        raise CheckpointError(
            f"the model answers NaN to {bad} of {len(logits)} texts; "
            "are its weights damaged, or is `precision` too coarse for it?"
        )


def check_same_execution(worker: Execution, job: Execution) -> None:
    """Refuse a worker that would not compute as the job was told.

    Raises:
        EnvironmentMismatchError: naming both.
    """
    if worker != job:
        raise EnvironmentMismatchError(
            f"this job runs on {job.summary()}, but a worker has {worker.summary()}; "
            "workers of one job must have the same processors and libraries"
        )


def take_worker_device(job: Execution) -> None:
    """Have a worker process take its share of the GPUs, where the job runs on any.

    Raises:
        EnvironmentMismatchError: if it has none.
    """
    if not runs_here(job):
        raise EnvironmentMismatchError(
            "this job runs on GPUs, and torch finds none on a worker: start it with `device` cpu, or give "
            "workers GPUs and drivers"
        )
    if job.device == Device.CUDA:
        take_gpu()


def without_packing_for_few_tokens(execution: Execution, num_tokens: int) -> Execution:
    """Return `execution`, with the layers as they are where packing them would take longer than it saves."""
    if num_tokens >= _MIN_TOKENS_TO_PACK:
        return execution
    return replace(execution, backend=Backend.HUGGING_FACE)


def runs_here(execution: Execution) -> bool:
    """Return whether this machine has the device; a job may be for others that have it."""
    return execution.device == Device.CPU or torch.cuda.is_available()


def take_device(device: Device) -> None:
    """Have this process take its share of the GPUs, where it is to run on any.

    For commands: a library's caller chooses its GPU itself.

    Raises:
        ParameterError: if a GPU is asked for that there is not.
    """
    if device is Device.CPU:
        return
    if torch.cuda.is_available():
        take_gpu()
    elif device is Device.CUDA:
        raise ParameterError("`device` cuda: torch finds no GPU on this machine")


def execution_here(precision: Precision = Precision.AUTO, device: Device = Device.AUTO) -> Execution:
    """Return what a command is to run on, see `resolve_execution`, with its share of the GPUs.

    Raises:
        ParameterError: if a GPU is asked for that there is not.
    """
    take_device(device)
    return resolve_execution(precision, device=device)


def resolve_execution(precision: Precision = Precision.AUTO, *, device: str = Device.AUTO) -> Execution:
    """Decide device, number format and backend.

    AUTO is bfloat16 where the device computes in it natively; else float32 on a CPU and float16 on a GPU.

    Args:
        precision: what the user asked for.
        device: likewise; AUTO takes a GPU where this machine has one.

    Raises:
        ParameterError: if the number format of a GPU is to be decided, and there is none here.
    """
    if device == Device.AUTO:
        device = Device.CUDA if torch.cuda.is_available() else Device.CPU
    if precision is Precision.AUTO:
        precision = _default_precision(device)
    is_cpu = device == Device.CPU
    packs = is_cpu and has_onednn(_DTYPES[precision])
    # A CPU's caches like small micro-batches; a GPU wants enough work to hide its launches.
    token_budget, chunk_bytes = (1024, 1 << 28) if is_cpu else (1 << 15, 1 << 31)
    return Execution(
        device=str(device),
        precision=precision,
        backend=Backend.ONEDNN if packs else Backend.TORCH,
        token_budget=token_budget,
        chunk_bytes=chunk_bytes,
    )


def _default_precision(device: str) -> Precision:
    if device == Device.CUDA:
        if not torch.cuda.is_available():
            raise ParameterError(
                "`precision` auto asks the GPU, and this machine has none: give `precision` bf16, or fp16 "
                "for GPUs before Ampere"
            )
        return Precision.BF16 if torch.cuda.is_bf16_supported() else Precision.FP16
    capabilities = torch.cpu.get_capabilities()
    # Elsewhere bfloat16 is emulated, and slower than float32.
    is_native = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return Precision.BF16 if is_native and has_onednn(torch.bfloat16) else Precision.FP32
