"""A classifier in training: what it has come to, epoch by epoch, and the best of its states."""

import math
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.training.finetuning.quality import Quality
from model.training.finetuning.settings import BestBy


@dataclass(frozen=True, kw_only=True)
class FinetuningEpoch:
    """How a classifier does after an epoch.

    Attributes:
        epoch: from 1.
        loss: mean of the epoch's steps, classes weighted.
        quality: on the evaluation's rows; None without evaluation.
    """

    epoch: int
    loss: float
    quality: Quality | None


class FinetuningLearner(nn.Module):
    """All that a fine-tuning has come to; its state is what a killed one goes on from.

    Attributes:
        model: what is trained.
        best: the model after its best epoch; None where nothing is judged.
        epoch_losses: (epochs,) float64, the sum of the losses of each epoch's steps so far.
        epoch_steps: (epochs,) int64, how many these are.
        judged: (epochs, 4) float64, what `Quality` holds, in its order; NaN for what it has not, or not yet.
    """

    epoch_losses: Tensor
    epoch_steps: Tensor
    judged: Tensor

    def __init__(self, model: nn.Module, *, epochs: int, best_by: BestBy | None) -> None:
        """Begin to train `model`, in place.

        Args:
            model: the classifier.
            epochs: how many there will be.
            best_by: what says which was the best; None where nothing is judged.
        """
        super().__init__()
        self._best_by = best_by
        self.model = model
        self.best = None if best_by is None else deepcopy(model).requires_grad_(False)
        self.register_buffer("epoch_losses", torch.zeros(epochs, dtype=torch.float64))
        self.register_buffer("epoch_steps", torch.zeros(epochs, dtype=torch.int64))
        self.register_buffer("judged", torch.full((epochs, 4), torch.nan, dtype=torch.float64))

    def count_step(self, epoch: int, loss: float) -> None:
        """Take a step's loss into the mean of its epoch, from 1."""
        self.epoch_losses[epoch - 1] += loss
        self.epoch_steps[epoch - 1] += 1

    def judge(self, epoch: int, quality: Quality) -> None:
        """Note how the model does after an epoch, from 1, and keep its weights if it is the best so far."""
        assert self._best_by is not None, "there is something to judge by"
        assert self.best is not None, "there is something to judge by"
        values = (quality.loss, quality.accuracy, quality.macro_f1, quality.spearman)
        known = [math.nan if value is None else value for value in values]
        self.judged[epoch - 1] = torch.tensor(known, dtype=torch.float64)
        if self.best_epoch == epoch:
            self.best.load_state_dict(self.model.state_dict())

    @property
    def best_epoch(self) -> int | None:
        """The best epoch so far, of equal ones the one of the lower loss, then the first; None before any."""
        if self._best_by is None:
            return None
        found = [(epoch.quality, -epoch.epoch) for epoch in self.epochs if epoch.quality is not None]
        by = self._best_by
        ranked = [(quality.by(by), -quality.loss, order) for quality, order in found]
        return -max(ranked)[2] if ranked else None

    @property
    def epochs(self) -> list[FinetuningEpoch]:
        """How the model did after every epoch that has begun."""
        begun = int((self.epoch_steps > 0).sum())
        return [
            FinetuningEpoch(
                epoch=place + 1,
                loss=float(self.epoch_losses[place] / self.epoch_steps[place]),
                quality=_quality(self.judged[place].tolist()),
            )
            for place in range(begun)
        ]

    def finish(self) -> None:
        """Give the model the weights of its best epoch, once one was judged."""
        if self.best is not None and self.best_epoch is not None:
            self.model.load_state_dict(self.best.state_dict())


def _quality(values: list[float]) -> Quality | None:
    """Return what `judge` noted; None where it noted nothing."""
    loss, *others = values
    if math.isnan(loss):
        return None
    accuracy, macro_f1, rank_correlation = (None if math.isnan(value) else value for value in others)
    return Quality(loss=loss, accuracy=accuracy, macro_f1=macro_f1, spearman=rank_correlation)
