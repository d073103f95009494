"""Progress of a job by the shards that have appeared: so it works on any runner."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from jobs.terminal.console import progress_bar
from pipeline.contract.layout import OutputLayout
from pipeline.contract.plan import WorkItem, num_rows_of
from pipeline.contract.storage import is_local

_POLL_SECONDS = 0.5
# Listing an object store costs a request for every thousand names, and takes its time.
_REMOTE_POLL_SECONDS = 5.0
# Between two looks, as often as long as the last one took.
_REST = 20
_LOGGER = logging.getLogger(__name__)


@contextmanager
def shard_progress(
    layout: OutputLayout, items: Sequence[WorkItem], finished: set[str], *, description: str
) -> Iterator[None]:
    """Show progress while a job runs; that it is unknown is logged and no more.

    Args:
        layout: the output directory.
        items: that are done in it.
        finished: the names of the shards that are there already.
        description: of what is done.
    """
    rows = {item.shard_name: max(item.rows.num_rows, 0) for item in items}
    started_with = sum(rows[name] for name in finished if name in rows)
    with progress_bar(rate="rate") as progress:
        # The size of compressed files is known only when they are read: then no total, and no ETA.
        total = num_rows_of(items)
        bar = progress.add_task(description, total=total, completed=started_with, rate="")
        started = time.monotonic()

        def update() -> None:
            done = sum(rows.get(name, 0) for name in layout.finished_shards())
            rate = (done - started_with) / max(time.monotonic() - started, 1e-3)
            text = f"{rate:,.0f} rows/s" if done > started_with else ""
            progress.update(bar, completed=done, rate=text)

        with _repeated(_POLL_SECONDS if is_local(layout.directory) else _REMOTE_POLL_SECONDS, update):
            yield


def pause_after(took: float, *, least: float) -> float:
    """Return the seconds between two looks, so that of many shards looking takes no more than 5 % of a core.

    >>> pause_after(0.002, least=0.5), pause_after(1.5, least=0.5)
    (0.5, 30.0)
    """
    return max(least, _REST * took)


@contextmanager
def _repeated(least_pause: float, action: Callable[[], None]) -> Iterator[None]:
    """Do something again and again, and once more at the end; that it fails is logged and no more."""
    stop = threading.Event()

    def attempt() -> float:
        started = time.monotonic()
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the job is worth more than its progress bar
            _LOGGER.warning("progress is unknown: %s", error)
        return time.monotonic() - started

    def repeat() -> None:
        pause = least_pause
        while not stop.wait(pause):
            pause = pause_after(attempt(), least=least_pause)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        attempt()
