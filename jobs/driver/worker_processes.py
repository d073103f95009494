"""Worker processes of this machine: a driver hands out the items of a job, each process does one at a time.

Beam's own multi-process runner opens six ports on all interfaces, through which whoever reaches them reads
any file of the user's, and it waits for ever for a worker that was killed. Here driver and workers talk
through pipes; a worker that dies is told, and its item given to another once more.
"""

import logging
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from os import _exit as exit_at_once

from jobs.terminal.log_filters import silence_beam
from model.errors import ItemError
from pipeline.contract.manifest import Manifest
from pipeline.contract.plan import WorkItem
from pipeline.contract.work_times import WorkTimes
from pipeline.contract.worker_errors import MOST_ERRORS, num_worker_errors, write_worker_error
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.item_job import ItemJob
from pipeline.transforms.item_worker import ItemWorker

# How often an item may take a worker down: the first time another item's memory may have been to blame.
_MOST_DEATHS = 2

_LOGGER = logging.getLogger(__name__)


class _CannotLoad:
    """What a process answers that cannot load the model, as for want of memory; why, it has left written."""


@dataclass
class _Worker:
    """A process, and what it is at.

    Attributes:
        process: it.
        pipe: takes a work item, None to end, and gives what it took.
        item: that it is doing now.
    """

    process: SpawnProcess
    pipe: Connection
    item: WorkItem | None = None

    def give(self, item: WorkItem) -> None:
        self.item = item
        # A worker that is dead already is found so when it is waited for.
        try:
            self.pipe.send(item)
        except OSError:
            return

    def finish(self) -> "WorkTimes | _CannotLoad | None":
        """Return what the item took, None where the worker died at it."""
        try:
            told: WorkTimes | _CannotLoad = self.pipe.recv()
            return told
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


def run_in_processes(job: CorpusJob[Manifest], items: Sequence[WorkItem], num_workers: int) -> WorkTimes:
    """Do work items in processes of this machine, and return what they took, summed up.

    What fails is left in the output directory, for `CorpusJob.commit` to raise.

    Args:
        job: what is done with the rows.
        items: to be done, the first ones first.
        num_workers: how many processes.
    """
    waiting = list(reversed(items))
    deaths: Counter[int] = Counter()
    workers: list[_Worker] = []
    busy = WorkTimes()
    try:
        while waiting or any(worker.item for worker in workers):
            idle = [worker for worker in workers if not worker.item]
            while waiting and (idle or len(workers) < num_workers):
                if not idle:
                    idle.append(_start(job))
                    workers += idle
                idle.pop().give(waiting.pop())
            ready = wait([worker.pipe for worker in workers if worker.item])
            for worker in [worker for worker in workers if worker.pipe in ready]:
                item = worker.item
                assert item is not None
                told = worker.finish()
                if isinstance(told, WorkTimes):
                    busy += told
                    worker.item = None
                    continue
                workers.remove(worker)
                if isinstance(told, _CannotLoad):
                    worker.end()
                    # Its item is another's, unless none of them can.
                    num_workers -= 1
                    waiting.append(item)
                    if not num_workers:
                        waiting.clear()
                    continue
                deaths[item.index] += 1
                if _try_again(job, item, worker, deaths[item.index]):
                    waiting.append(item)
                elif num_worker_errors(job.layout, job.part_names) >= MOST_ERRORS:
                    # It is no item that kills them.
                    waiting.clear()
    finally:
        for worker in workers:
            worker.end()
    return busy


def _try_again(job: CorpusJob[Manifest], item: WorkItem, worker: _Worker, num_deaths: int) -> bool:
    """Say that a worker has died at an item, and return whether it is worth another try."""
    worker.pipe.close()
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    hint = "; is there enough memory for so many `workers`?" if code == -signal.SIGKILL else ""
    if num_deaths < _MOST_DEATHS:
        _LOGGER.warning("%s: the worker process %s; its shard is begun anew", item.description, how)
        return True
    error = ItemError(f"the worker process {how}, {num_deaths} times{hint}")
    write_worker_error(job.layout, item, error)
    return False


def _start(job: CorpusJob[Manifest]) -> _Worker:
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_work, args=(theirs, ItemJob.of(job)), daemon=True)
    with _without_interrupts():
        process.start()
    # The worker's end is open in the worker alone: when it dies, ours is at its end.
    theirs.close()
    return _Worker(process=process, pipe=ours)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back, in what is started here for ever: a terminal sends it to worker processes too."""
    # Whose start would let it through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, job: ItemJob) -> None:
    """Do items until there are no more, or the driver is gone."""
    threading.Thread(target=_end_with_driver, daemon=True).start()
    silence_beam()
    worker = ItemWorker(job)
    worker.start()
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        counts = worker.do(item)
        pipe.send(_CannotLoad() if worker.cannot_load else WorkTimes.of_counts(counts or {}))


def _end_with_driver() -> None:
    driver = parent_process()
    assert driver is not None
    driver.join()
    # A shard that is half written has no name yet.
    exit_at_once(1)
