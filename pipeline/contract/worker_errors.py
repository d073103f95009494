"""A user's mistake that shows only in a worker, on its way to the driver: a file beside the shards.

All that comes of an exception from one process to another is its traceback, as text; and which runner keeps
what of it differs. So a worker writes what is wrong where it would have written its shard.
"""

from dataclasses import dataclass

from model.errors import FastBertJobsError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.storage import list_files, make_directory
from pipeline.contract.typed_json import read_typed, write_typed

_KINDS = {kind.__name__: kind for kind in FastBertJobsError.__subclasses__()}


@dataclass(frozen=True, kw_only=True)
class WorkerError:
    """What went wrong in a worker.

    Attributes:
        kind: name of the error's class in `model.errors`.
        message: its one line.
    """

    kind: str
    message: str


def write_worker_error(layout: OutputLayout, shard_name: str, error: FastBertJobsError) -> None:
    """Leave an error for the driver to raise."""
    make_directory(layout.worker_errors)
    content = WorkerError(kind=type(error).__name__, message=str(error))
    write_typed(layout.worker_error(shard_name), content)


def has_worker_errors(layout: OutputLayout) -> bool:
    """Return whether any worker has left an error: then no other need begin."""
    return bool(list_files(layout.worker_error("*")))


def raise_worker_error(layout: OutputLayout) -> None:
    """Raise the error of the first shard that has one.

    Raises:
        FastBertJobsError: the error, as the worker raised it.
    """
    for path in sorted(list_files(layout.worker_error("*"))):
        found = read_typed(path, WorkerError, cure="run the same command again")
        raise _KINDS.get(found.kind, FastBertJobsError)(found.message)
