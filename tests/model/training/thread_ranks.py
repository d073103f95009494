"""Threads of this process in place of processes that train together."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import torch
from torch import Tensor

from model.training.ranks import Ranks


class _Board:
    """What threads show each other."""

    def __init__(self, size: int) -> None:
        self.barrier = Barrier(size, timeout=60)
        self.shown: list[Any] = [None] * size


class ThreadRanks(Ranks):
    """One of some threads; sums are taken in the order of their ranks."""

    def __init__(self, rank: int, size: int, board: _Board) -> None:
        self.rank, self.size, self._board = rank, size, board

    def _show(self, value: Any) -> list[Any]:
        self._board.shown[self.rank] = value
        self._board.barrier.wait()
        shown = list(self._board.shown)
        self._board.barrier.wait()
        return shown

    def sum_(self, tensor: Tensor) -> None:
        tensor.copy_(torch.stack(self._show(tensor.clone())).sum(0))

    def from_first(self, value: Any) -> Any:
        return pickle.loads(self._show(pickle.dumps(value))[0])


def run_ranks(size: int, function: Callable[[Ranks], Any]) -> list[Any]:
    """Return what `function` returns in each of `size` threads.

    Raises:
        Exception: what the first of them by rank raised, but for those that lost another one.
    """
    board = _Board(size)

    def run(rank: int) -> Any:
        try:
            return function(ThreadRanks(rank, size, board))
        except BaseException:
            board.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(run, rank) for rank in range(size)]
    errors = [error for error in (future.exception() for future in futures) if error]
    lost = [error for error in errors if type(error).__name__ == "BrokenBarrierError"]
    for error in [*(each for each in errors if each not in lost), *lost]:
        raise error
    return [future.result() for future in futures]
