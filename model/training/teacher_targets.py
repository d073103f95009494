"""What branches learn towards: the teacher's logits, or its scores in units of their own spread.

Scores come on any scale, and fresh branches answer about 0 with a spread of about 1. So they learn scores
from which the mean was taken, divided by the standard deviation, and their last layer is given the scale
afterwards: it is linear, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import log

import numpy as np
import torch
from torch import nn

from model.answers.task import Task
from model.errors import InputError
from model.training.soft_labelled_texts import SoftLabelledTexts, SoftLabelSource

# Of which mean and deviation are taken; they need not be exact.
_BATCH_SIZE, _BATCHES = 1000, 20


@dataclass(frozen=True, kw_only=True)
class TeacherTargets:
    """A source of soft labels as branches learn from it. A `SoftLabelSource` itself.

    Attributes:
        source: as the teacher answers.
        mean: that is taken from its logits.
        deviation: that they are divided by.
    """

    source: SoftLabelSource
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, task: Task, source: SoftLabelSource, *, seed: int) -> TeacherTargets:
        """Return logits of labels as they are, and scores in units of their spread.

        Args:
            task: of the model.
            source: as the teacher answers.
            seed: of the order of the texts.

        Raises:
            InputError: if all texts have the same score.
        """
        if task is not Task.SCORE:
            return cls(source=source)
        batches = islice(source.batches(0, batch_size=_BATCH_SIZE, seed=seed), _BATCHES)
        scores = np.concatenate([batch.logits[:, 0] for batch in batches]).astype(np.float64)
        mean, deviation = float(scores.mean()), float(scores.std())
        if not deviation > 1e-6 * max(1.0, abs(mean)):
            raise InputError(
                f"the teacher gives all texts the same score, {mean:g}: there is nothing to learn"
            )
        return cls(source=source, mean=mean, deviation=deviation)

    def steps_per_epoch(self, batch_size: int) -> int:
        """See `SoftLabelSource`."""
        return self.source.steps_per_epoch(batch_size)

    def batches(self, epoch: int, *, batch_size: int, seed: int) -> Iterator[SoftLabelledTexts]:
        """See `SoftLabelSource`."""
        return map(self.scaled, self.source.batches(epoch, batch_size=batch_size, seed=seed))

    def scaled(self, labels: SoftLabelledTexts) -> SoftLabelledTexts:
        """Return texts with what branches learn towards."""
        if self.deviation == 1 and not self.mean:
            return labels
        return replace(labels, logits=(labels.logits - np.float32(self.mean)) / np.float32(self.deviation))

    @torch.no_grad()
    def unscale(self, branches: Iterable[nn.Module]) -> None:
        """Let branches that have learnt answer on the teacher's own scale; of each the last layer is changed.

        Args:
            branches: whose `classifier` is a linear layer.
        """
        for classifier in self._classifiers(branches):
            value, log_variance = classifier.bias
            classifier.weight[0] *= self.deviation
            value.mul_(self.deviation).add_(self.mean)
            log_variance.add_(2 * log(self.deviation))

    @torch.no_grad()
    def rescale(self, branches: Iterable[nn.Module]) -> None:
        """Let branches that learnt before learn on: what `unscale` undoes."""
        for classifier in self._classifiers(branches):
            value, log_variance = classifier.bias
            classifier.weight[0] /= self.deviation
            value.sub_(self.mean).div_(self.deviation)
            log_variance.sub_(2 * log(self.deviation))

    def _classifiers(self, branches: Iterable[nn.Module]) -> Iterator[nn.Linear]:
        if self.deviation == 1 and not self.mean:
            return
        for branch in branches:
            classifier = branch.get_submodule("classifier")
            assert isinstance(classifier, nn.Linear)
            yield classifier
