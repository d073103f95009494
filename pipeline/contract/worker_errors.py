"""What went wrong with a work item, on its way from a worker to the driver: a file beside the shards.

All that comes of an exception from one process to another is its traceback, as text; and which runner keeps
what of it differs. So a worker writes what is wrong where it would have written its shard, and goes on with
the other items.
"""

from collections.abc import Collection
from dataclasses import dataclass

from model.errors import FastBertJobsError, ItemError
from model.messages import one_line
from pipeline.contract.layout import OutputLayout
from pipeline.contract.plan import WorkItem
from pipeline.contract.storage import delete_directory, delete_files, list_names, make_directory
from pipeline.contract.typed_json import read_typed, write_typed

# Of as many failed items it is not one that is wrong: no other need begin.
MOST_ERRORS = 16

_KINDS = {kind.__name__: kind for kind in FastBertJobsError.__subclasses__()}


@dataclass(frozen=True, kw_only=True)
class WorkerError:
    """What went wrong with a work item.

    Attributes:
        kind: name of the error's class in `model.errors`.
        message: its one line, which names the item's file and rows.
        trace: where it was raised, for who asks.
    """

    kind: str
    message: str
    trace: str


def write_worker_error(layout: OutputLayout, item: WorkItem, error: Exception, *, trace: str = "") -> None:
    """Leave an error for the driver to raise.

    Args:
        layout: the output directory.
        item: what failed.
        error: why; what is no `FastBertJobsError` becomes an `ItemError`.
        trace: where it was raised.
    """
    make_directory(layout.worker_errors)
    is_ours = isinstance(error, FastBertJobsError)
    cause = str(error) if is_ours else f"{type(error).__name__}: {one_line(error)}"
    content = WorkerError(
        kind=type(error).__name__ if is_ours else ItemError.__name__,
        # Many a message begins with the file.
        message=f"{item.description}: {cause.removeprefix(f'{item.path}: ')}",
        trace=trace,
    )
    write_typed(layout.worker_error(item.shard_name), content)


def num_worker_errors(layout: OutputLayout, among: Collection[str] | None = None) -> int:
    """Return how many items have failed; `among` names the shards that count, None for all."""
    return len(_names(layout, among))


def forget_worker_errors(layout: OutputLayout, among: Collection[str] | None = None) -> None:
    """Remove what is left of earlier attempts, `among` the shards of these names."""
    if among is None:
        delete_directory(layout.worker_errors)
    else:
        delete_files([layout.worker_error(name) for name in _names(layout, among)])


def raise_worker_error(layout: OutputLayout, among: Collection[str] | None = None) -> None:
    """Raise the error of the first item that failed, and say how many others did.

    Args:
        layout: the output directory.
        among: the names of the shards that count, None for all.

    Raises:
        FastBertJobsError: the error, with the worker's traceback as a note.
    """
    names = _names(layout, among)
    if not names:
        return
    found = read_typed(layout.worker_error(names[0]), WorkerError, cure="run the same command again")
    others = f" ({len(names) - 1:,} more shards failed)" if len(names) > 1 else ""
    error = _KINDS.get(found.kind, FastBertJobsError)(found.message + others)
    if found.trace:
        error.add_note(found.trace)
    raise error


def _names(layout: OutputLayout, among: Collection[str] | None) -> list[str]:
    """Return the names of the shards that failed, in order."""
    names = [name.removesuffix(".json") for name in list_names(layout.worker_errors, "*.json")]
    return names if among is None else [name for name in names if name in among]
