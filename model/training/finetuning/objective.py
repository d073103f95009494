"""What a classifier is to answer, as tensors, and how far it is from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PretrainedConfig

from model.answers.task import Task
from model.checkpoints.loading import label_names, task_of
from model.errors import InputError
from model.training.finetuning.settings import ClassWeights
from model.training.labelled_texts import Label, names_of


def make_targets(labels: Sequence[Label], config: PretrainedConfig) -> Tensor:
    """Return what a model is to answer to some rows.

    Args:
        labels: of the rows, of the kind that the model's task has.
        config: of the model.

    Returns:
        (rows,) int64, the label's place among the logits; (rows, num_labels) float32, 1 where a label holds,
        of several labels at once; (rows,) float32 of a regression.

    Raises:
        InputError: naming labels that the model does not know, or that are of another task.
    """
    task = task_of(config)
    kind = {Task.ONE_LABEL: str, Task.LABEL_SET: tuple, Task.SCORE: float}[task]
    if misfit := [label for label in labels if not isinstance(label, kind)][:1]:
        raise InputError(f"the model is for {task.value}, and {misfit[0]!r} is no label of that")
    if task is Task.SCORE:
        return torch.tensor(labels, dtype=torch.float32)
    places = {label: place for place, label in enumerate(label_names(config))}
    names = [names_of(label) for label in labels]
    if unknown := sorted({name for each in names for name in each}.difference(places)):
        raise InputError(f"the model has no label {', '.join(map(repr, unknown[:5]))}")
    if task is Task.ONE_LABEL:
        return torch.tensor([places[name] for (name,) in names])
    targets = torch.zeros(len(names), len(places))
    for row, each in enumerate(names):
        targets[row, [places[name] for name in each]] = 1.0
    return targets


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The loss of a task, as transformers' own sequence classifiers have it, row by row.

    Attributes:
        task: which.
        class_weights: (num_labels,) float32; how much rows of a label count, or of several labels at once the
            positives of each beside its negatives; None for all alike.
    """

    task: Task
    class_weights: Tensor | None = None

    @classmethod
    def of(cls, config: PretrainedConfig, targets: Tensor, weights: ClassWeights) -> "Objective":
        """Return the loss of a model's task, its classes weighted by how often they occur in `targets`.

        Balanced, a label of n_k among n rows and K labels weighs n / (K n_k), as in King and Zeng 2001.
        """
        task = task_of(config)
        weights.check(task)
        if weights is ClassWeights.NONE:
            return cls(task=task)
        if task is Task.LABEL_SET:
            positives = targets.sum(dim=0)
            return cls(task=task, class_weights=(len(targets) - positives) / positives.clamp(min=1))
        counts = targets.bincount(minlength=config.num_labels)
        return cls(task=task, class_weights=len(targets) / (config.num_labels * counts.clamp(min=1)))

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row, (rows,) float32, not yet weighted by `row_weights`.

        Args:
            logits: (rows, num_labels).
            targets: of `make_targets`.
        """
        logits = logits.float()
        if self.task is Task.SCORE:
            return functional.mse_loss(logits.squeeze(-1), targets, reduction="none")
        if self.task is Task.LABEL_SET:
            weights = None if self.class_weights is None else self.class_weights.to(logits.device)
            losses = functional.binary_cross_entropy_with_logits(
                logits, targets, reduction="none", pos_weight=weights
            )
            return losses.mean(dim=-1)
        return functional.cross_entropy(logits, targets, reduction="none")

    def best_constant(self, targets: Tensor) -> Tensor | None:
        """Return the logits of the least loss among those that are the same for all rows, (num_labels,).

        Of several labels at once they are the logarithms of the odds of each, half a row of either kind
        added; of a regression the mean.

        Args:
            targets: of `make_targets`.

        Returns:
            None where that is about 0: classes are balanced, or one of several labels holds.
        """
        if self.task is Task.SCORE:
            return targets.mean().reshape(1)
        if self.task is Task.ONE_LABEL or self.class_weights is not None:
            return None
        positives = targets.sum(dim=0)
        return ((positives + 0.5) / (len(targets) - positives + 0.5)).log()

    def row_weights(self, targets: Tensor) -> Tensor:
        """Return how much each row counts in a mean, (rows,) float32."""
        if self.class_weights is None or self.task is not Task.ONE_LABEL:
            return torch.ones(len(targets))
        return self.class_weights[targets]
