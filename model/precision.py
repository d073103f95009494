"""Where a model runs and in which number format."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import torch

from model.errors import CheckpointError


class Precision(StrEnum):
    """Number format of the weights and hidden states; answers are always computed in float32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


_DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What a job runs on, decided once and written into its manifest.

    Attributes:
        device: "cpu" or "cuda".
        precision: never AUTO.
        token_budget: tokens of a micro-batch, padding included.
        chunk_tokens: tokens of a chunk, the unit of one decision a layer.
    """

    device: str
    precision: Precision
    token_budget: int
    chunk_tokens: int

    @property
    def dtype(self) -> torch.dtype:
        """The torch dtype of `precision`."""
        return _DTYPES[self.precision]

    def describe(self) -> str:
        """Return one line for the user.

        >>> resolve_execution(Precision.FP32, device="cpu").describe()
        'cpu, fp32, micro-batches of 1024 tokens'
        """
        return f"{self.device}, {self.precision}, micro-batches of {self.token_budget} tokens"


def check_finite(logits: npt.NDArray[np.float32]) -> None:
    """Refuse answers that are no numbers.

    Args:
        logits: (rows, num_labels).

    Raises:
        CheckpointError: saying how many texts have such an answer.
    """
    bad = int((~np.isfinite(logits)).any(axis=1).sum())
    if bad:
        raise CheckpointError(
            f"the model answers NaN to {bad} of {len(logits)} texts; "
            "are its weights damaged, or is --precision too coarse for it?"
        )


def resolve_execution(precision: Precision = Precision.AUTO, *, device: str | None = None) -> Execution:
    """Decide device and number format.

    AUTO is float32 on a CPU, where the answers are to equal those of the Hugging Face model, and bfloat16 on
    a GPU that has it, float16 on one that has not.

    Args:
        precision: what the user asked for.
        device: "cpu" or "cuda"; None takes a GPU where there is one.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if precision is Precision.AUTO:
        gpu = Precision.BF16 if device == "cuda" and torch.cuda.is_bf16_supported() else Precision.FP16
        precision = Precision.FP32 if device == "cpu" else gpu
    # A CPU's caches like small micro-batches; a GPU wants enough work to hide its launches.
    token_budget, chunk_tokens = (1024, 1 << 16) if device == "cpu" else (1 << 15, 1 << 20)
    return Execution(device=device, precision=precision, token_budget=token_budget, chunk_tokens=chunk_tokens)
