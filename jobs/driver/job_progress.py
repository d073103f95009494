"""How far a corpus job is."""

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
# Listing an object store costs a request, and takes its time.
_REMOTE_POLL_SECONDS = 5.0
_LOGGER = logging.getLogger(__name__)


@contextmanager
def job_progress(
    layout: OutputLayout, items: Sequence[WorkItem], finished: set[str], *, description: str
) -> Iterator[None]:
    """Show progress while a job runs, by the shards that have appeared: so it works on any runner.

    Args:
        layout: the output directory.
        items: that are to be done.
        finished: the names of the shards that were there before.
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

        with _every(_POLL_SECONDS if is_local(layout.directory) else _REMOTE_POLL_SECONDS, update):
            yield


@contextmanager
def _every(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Do something every so many seconds, and once more at the end; that it fails is logged and no more."""
    stop = threading.Event()

    def attempt() -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the job is worth more than its progress bar
            _LOGGER.warning("progress is unknown: %s", error)

    def repeat() -> None:
        while not stop.wait(seconds):
            attempt()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        attempt()
