"""Micro-batches side by side, each on one core.

Several small products on a core each leave no core waiting for the others at the end of every operator, as
one product on all of them does; and what comes out does not depend on how many cores there are.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import ParamSpec, Protocol, TypeVar

import torch

from model.engine.openmp import set_threads_of_this_thread

Given = ParamSpec("Given")
Item = TypeVar("Item")
Result = TypeVar("Result")


class ParallelMap(Protocol):
    """Computes a function of several items, side by side where there are cores for it."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return `function` of each item, in order."""


def one_by_one(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Compute one item after another; see `ParallelMap`."""
    return [function(item) for item in items]


class CorePool:
    """As many threads as torch would use, each of which computes alone."""

    def __init__(self, count: int) -> None:
        """Start `count` threads and one that drives them; of 1, work is done in the caller's own."""
        self.count = count
        self._driver = _single_threaded_pool(1) if count > 1 else None
        self._driver_id = self._driver.submit(threading.get_ident).result() if self._driver else None
        self._pool = _single_threaded_pool(count) if count > 1 else None

    def run_on_driver_thread(self, function: Callable[[], Result]) -> Result:
        """Return `function()`, computed under the caller's gradient mode in a thread of one core.

        It may call `map`, and `run_on_driver_thread` again.

        In a thread of many cores, operators between two calls of `map` would wake helpers, which go on
        looking for work for a while, on the cores that the pool computes on.
        """
        if self._driver is None or threading.get_ident() == self._driver_id:
            return function()
        return self._driver.submit(_with_grad_mode(function)).result()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return `function` of each item, in order, computed under the caller's gradient mode."""
        if self._pool is None:
            return one_by_one(function, items)
        return list(self._pool.map(_with_grad_mode(function), items))


def _with_grad_mode(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Return `function` under the gradient mode of now, in whatever thread it is called."""
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def run(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return function(*args, **kwargs)

    return run


def _single_threaded_pool(count: int) -> ThreadPoolExecutor:
    """Return running threads whose operators take one core each."""
    pool, barrier, before = ThreadPoolExecutor(count), Barrier(count), torch.get_num_threads()

    def init_thread() -> bool:
        is_set = set_threads_of_this_thread(1)
        if not is_set:
            # Asked first, since the first question in a thread sets its number to the process's.
            torch.get_num_threads()
            torch.set_num_threads(1)
        barrier.wait()
        return is_set

    started = [pool.submit(init_thread) for _ in range(count)]
    are_set = [thread.result() for thread in started]
    if not all(are_set):
        # It also set what threads that start later take for the number of cores: put that back.
        torch.set_num_threads(before)
    return pool
