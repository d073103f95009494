"""What is answered to some texts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from model.tokens.packing import Lengths


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Answers to some texts, in their order.

    Attributes:
        labels: label names in the order of the logits.
        logits: (rows, num_labels) float32, at the exit taken, as its branch gives them.
        uncertainty: (rows,) float32 in [0, 1], at the exit taken, its temperature applied.
        exit_layer: (rows,) int16, a layer from 1; 0 for the lexical branch.
        num_tokens: (rows,) int64.
        truncated: (rows,) bool.
        full_depth_logits: (rows, num_labels) float32, NaN for texts that did not go on to full depth.
        num_processed_tokens: token-layers that were run, padding included.
        num_real_tokens: the same without padding.
    """

    labels: tuple[str, ...]
    logits: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32]
    exit_layer: npt.NDArray[np.int16]
    num_tokens: Lengths
    truncated: npt.NDArray[np.bool_]
    full_depth_logits: npt.NDArray[np.float32]
    num_processed_tokens: int
    num_real_tokens: int

    def __len__(self) -> int:
        return len(self.exit_layer)

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """(rows, num_labels) float32."""
        return probabilities(self.logits)

    @property
    def label_ids(self) -> npt.NDArray[np.int64]:
        """(rows,) index of each answer among `labels`."""
        ids: npt.NDArray[np.int64] = self.logits.argmax(axis=1)
        return ids

    @property
    def predictions(self) -> list[str]:
        """The name of each text's label."""
        return [self.labels[index] for index in self.label_ids]


def probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return softmax over the last axis, float32."""
    result: npt.NDArray[np.float32] = torch.from_numpy(logits).softmax(dim=-1).numpy()
    return result
