"""What is answered to some texts."""

from dataclasses import dataclass
from functools import cached_property
from itertools import compress

import numpy as np
import numpy.typing as npt
import torch

from model.answers.answer import Answer, answer_of
from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.tokens.lengths import Lengths


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Answers to some texts, in their order.

    Attributes:
        labels: label names in the order of the logits.
        rule: what the logits mean, and what is decided by them.
        logits: (rows, num_outputs) float32, at the exit taken, as its branch gives them; of a score its value
            and the logarithm of its variance.
        uncertainty: (rows,) float32 in [0, 1], at the exit taken, its scaling applied.
        first_uncertainty: (rows,) float32, likewise at the first exit that a text came to.
        exit_layer: (rows,) int16, a layer from 1; 0 for the lexical branch.
        num_tokens: (rows,) int64.
        truncated: (rows,) bool.
        full_depth_logits: (rows, num_outputs) float32, NaN for texts that did not go on to full depth.
        num_processed_tokens: token-layers that were run, padding included.
        num_real_tokens: the same without padding.
    """

    labels: tuple[str, ...]
    rule: AnswerRule
    logits: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32]
    first_uncertainty: npt.NDArray[np.float32]
    exit_layer: npt.NDArray[np.int16]
    num_tokens: Lengths
    truncated: npt.NDArray[np.bool_]
    full_depth_logits: npt.NDArray[np.float32]
    num_processed_tokens: int
    num_real_tokens: int

    def __len__(self) -> int:
        return len(self.exit_layer)

    @cached_property
    def answer(self) -> Answer:
        """What is decided by the logits."""
        return answer_of(self.rule, self.labels)

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """(rows, num_labels) float32; of a model that answers with labels."""
        return probabilities(self.logits, self.rule.task)

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """(rows,) float32; of a model that answers with a score."""
        return self.logits[:, 0]

    @property
    def decisions(self) -> npt.NDArray[np.bool_]:
        """(rows, len(answer.names)) bool, what each text is called: labels, or cuts that it reaches."""
        calls: npt.NDArray[np.bool_] = self.answer.calls(torch.from_numpy(self.logits)).numpy()
        return calls

    @property
    def label_ids(self) -> npt.NDArray[np.int64]:
        """(rows,) index of each answer among `labels`; of a model that answers with one."""
        ids: npt.NDArray[np.int64] = self.logits.argmax(axis=1)
        return ids

    @property
    def predictions(self) -> list[str] | list[tuple[str, ...]] | list[float]:
        """The name of each text's label, the names of all that hold, or the score, as the task is."""
        if self.rule.task is Task.SCORE:
            return [float(score) for score in self.scores]
        if self.rule.task is Task.LABEL_SET:
            return [tuple(compress(self.labels, row)) for row in self.decisions]
        return [self.labels[index] for index in self.label_ids]


def probabilities(logits: npt.NDArray[np.float32], task: Task) -> npt.NDArray[np.float32]:
    """Return the probabilities of labels over the last axis, float32: softmax, or the sigmoid of each."""
    of_labels = torch.from_numpy(logits)
    result = of_labels.sigmoid() if task is Task.LABEL_SET else of_labels.softmax(dim=-1)
    values: npt.NDArray[np.float32] = result.numpy()
    return values
