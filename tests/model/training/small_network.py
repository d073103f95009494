"""A network that trains in no time, for the tests of the loop and of resuming."""

import torch
from torch import nn

from model.training.batching import bucketed_batches
from model.training.loop import training_steps
from model.training.training_config import TrainingConfig


def config(**options):
    """Two epochs of batches of four."""
    return TrainingConfig(**{"epochs": 2, "learning_rate": 0.01, "batch_size": 4, **options})


def fit(module, options, loss, *, steps_per_epoch=5, on_step=None, on_epoch=None, batches=None, state=None):
    """Train `module` on `loss(batch)`."""
    steps = training_steps(
        module,
        options,
        batches=batches or (lambda _: range(steps_per_epoch)),
        steps_per_epoch=steps_per_epoch,
        backward=lambda batch: backward(loss(batch)),
        state=state,
    )
    for report in steps:
        if on_step:
            on_step(report)
        if on_epoch and report.finished_epoch is not None:
            on_epoch(report.finished_epoch)


def backward(loss):
    """Add the gradients of `loss`, and return it."""
    loss.backward()
    return loss.detach()


class Network(nn.Module):
    """Matrix, bias, norm, and dropout that a resumed run must draw as it would have been drawn."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.layers = nn.Sequential(
            nn.Linear(3, 8), nn.LayerNorm(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2)
        )
        self.train()

    def forward(self, inputs):
        return self.layers(inputs)


INPUTS = torch.randn(22, 3, generator=torch.Generator().manual_seed(0))


def shuffled(epoch):
    """Return the rows of each batch of an epoch, six batches."""
    return bucketed_batches(INPUTS[:, 0], 4, generator=torch.Generator().manual_seed(epoch), buckets=2)
