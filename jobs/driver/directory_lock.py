"""One command at a time on a directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import OutputError
from pipeline.contract.storage import is_local


@contextmanager
def lock_directory(directory: str, *, shared: bool = False) -> Iterator[None]:
    """Keep other commands off a directory while the context lasts; it is made where it is missing.

    The lock is the system's, of the process: nothing is left where that dies. On NFS it is of this machine
    alone, and where a file system knows no locks, and of an object store, there is none: equal jobs write
    equal bytes there, and the shards of others are refused when a job is committed.

    Args:
        directory: a path, or the URL of an object store.
        shared: whether others that share it may have it too.

    Raises:
        OutputError: if another command has it, or it cannot be made.
    """
    if not is_local(directory):
        yield
        return
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"{directory!r} cannot be written: {error}") from error
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another command is at work on {directory!r}; wait for it, or choose another `output`"
            ) from error
        except OSError:
            # Of a network's file system that has no locks.
            pass
        if not Path(directory).exists() or not os.path.samestat(os.fstat(descriptor), os.stat(directory)):  # noqa: PTH116
            raise OutputError(f"another command has just finished {directory!r}; run this one again")
        yield
    finally:
        os.close(descriptor)
