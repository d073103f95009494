"""Branches in training: each a model of its own, with a running average, its best state and an end."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from model.engine.core_pool import ParallelMap, one_by_one

# The average reaches back over about a tenth of all steps, however many these are: as it is taken, the
# learning rate need not fall, so nobody has to know beforehand how long training will take.
_AVERAGED_SHARE = 0.1
# Taking the average of every step would cost a third of the step itself.
_STEPS_PER_AVERAGE = 4
# A branch has converged when its KL has fallen by less than this share over so many rounds.
MIN_FALL = 0.01
NUM_ROUNDS = 3
_SHORTEST_ROUND = 100
_LONGEST_ROUND = 2000


def steps_per_round(steps_per_epoch: int) -> int:
    """Return after how many steps branches are judged again.

    >>> [steps_per_round(steps) for steps in (1, 30, 125, 2_000, 5_000, 156_250)]
    [100, 120, 125, 2000, 1667, 1978]
    """
    if steps_per_epoch < _SHORTEST_ROUND:
        return steps_per_epoch * -(-_SHORTEST_ROUND // steps_per_epoch)
    return -(-steps_per_epoch // -(-steps_per_epoch // _LONGEST_ROUND))


class BranchLearners(nn.Module):
    """All that the training of some branches has come to; its state is what a killed training goes on from.

    Attributes:
        branches: what is trained.
        averages: the running average of each one's weights (Polyak and Juditsky 1992), over the last tenth of
            all steps: better than the weights, and as good as a learning rate that falls to 0.
        best: of these averages, the one that was nearest to the teacher.
        num_steps: int64, steps so far.
        best_kl: (branches,) float64, of `best`; infinite where nothing was judged.
        recent_kl: (NUM_ROUNDS + 1, branches) float64, of the averages; the last round's is the last row.
        has_converged: (branches,) bool, whether the KL has all but ceased to fall.
        is_resting: (branches,) bool, which of them learn no more.
    """

    num_steps: Tensor
    best_kl: Tensor
    recent_kl: Tensor
    has_converged: Tensor
    is_resting: Tensor

    def __init__(self, branches: nn.ModuleList, *, rest_when_converged: bool) -> None:
        """Begin to train `branches`, in place.

        Args:
            branches: with fresh weights.
            rest_when_converged: whether a branch that has converged learns no more.
        """
        super().__init__()
        self._rest_when_converged = rest_when_converged
        self.branches = branches
        self.averages = deepcopy(branches).requires_grad_(False)
        self.best = deepcopy(branches).requires_grad_(False)
        count = len(branches)
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("best_kl", torch.full((count,), torch.inf, dtype=torch.float64))
        self.register_buffer("recent_kl", torch.full((NUM_ROUNDS + 1, count), torch.nan, dtype=torch.float64))
        self.register_buffer("has_converged", torch.zeros(count, dtype=torch.bool))
        self.register_buffer("is_resting", torch.zeros(count, dtype=torch.bool))

    def begin(self, kls: Sequence[float]) -> None:
        """Take the branches, as they are, for the best so far.

        Args:
            kls: (branches,) of them on texts that they do not learn from, nats.
        """
        self.best_kl.copy_(self.best_kl.new_tensor(kls))

    @torch.no_grad()
    def count_step(self, parallel_map: ParallelMap = one_by_one) -> None:
        """Take the weights after a step into the averages.

        Args:
            parallel_map: computes those of the branches.
        """
        self.num_steps += 1
        num_steps = int(self.num_steps)
        if num_steps % _STEPS_PER_AVERAGE != 1:
            return
        weight = _STEPS_PER_AVERAGE / (_AVERAGED_SHARE * num_steps + _STEPS_PER_AVERAGE)

        def average(index: int) -> None:
            pairs = zip(self.branches[index].parameters(), self.averages[index].parameters(), strict=True)
            for value, mean in pairs:
                mean.lerp_(value, weight)

        parallel_map(average, self._learning)

    @torch.no_grad()
    def judge(self, kls: Sequence[float]) -> None:
        """Keep the averages that are the best so far, and see which branches have converged.

        Args:
            kls: (branches,) of the averages on texts that they do not learn from, nats.
        """
        for index in self._learning:
            recent = self.recent_kl[:, index]
            recent.copy_(torch.cat([recent[1:], recent.new_tensor([kls[index]])]))
            if kls[index] < self.best_kl[index]:
                self.best_kl[index] = kls[index]
                self.best[index].load_state_dict(self.averages[index].state_dict())
        # Of NaN, before there were enough rounds, it is not.
        self.has_converged.copy_(self.falls < MIN_FALL)
        if self._rest_when_converged:
            self.is_resting |= self.has_converged

    @property
    def falls(self) -> Tensor:
        """(branches,) by which share each KL fell over the last rounds; NaN before there were enough."""
        return 1 - self.recent_kl[-1] / self.recent_kl[0]

    @property
    def _learning(self) -> list[int]:
        """Which branches learn."""
        return [index for index, rests in enumerate(self.is_resting.tolist()) if not rests]

    @torch.no_grad()
    def finish(self) -> None:
        """Give every branch its best state, or its average where nothing was judged."""
        for index, kl in enumerate(self.best_kl.tolist()):
            source = self.best if kl < torch.inf else self.averages
            self.branches[index].load_state_dict(source[index].state_dict())
