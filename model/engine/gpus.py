"""Which GPU of the machine a process uses."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import torch

# From this generation on, Ampere, torch has variable-length attention.
_AMPERE = (8, 0)

_taken: int | None = None


def device_named(name: str) -> torch.device:
    """Return the device of an `Execution`: of several GPUs the one that this process uses.

    >>> device_named("cpu")
    device(type='cpu')
    """
    return torch.device(name) if name == "cpu" else torch.device(name, own_gpu())


def own_gpu() -> int:
    """Return the number of the GPU that this process uses: the one that it took, or torch's current one."""
    return torch.cuda.current_device() if _taken is None else _taken


def take_gpu() -> None:
    """Choose a GPU for this process, one that as few others have taken as there are; once for all.

    What is taken is told to others by locks of the system, on files of the user's: nothing is left where a
    process dies, however it does. For worker processes; the process of a library's caller keeps torch's
    current device.
    """
    global _taken
    if _taken is None and torch.cuda.device_count() > 1:
        _taken = _lock_first_free(
            _lock_directory(), [_identity(gpu) for gpu in range(torch.cuda.device_count())]
        )


def use_gpu(number: int) -> None:
    """Make a GPU this process's, whoever else uses it: where a launcher shares them out."""
    global _taken
    _taken = number
    torch.cuda.set_device(number)


def has_variable_length_attention() -> bool:
    """Return whether this process's GPU is new enough for torch's attention over packed texts."""
    return torch.cuda.get_device_capability(own_gpu()) >= _AMPERE


def _identity(gpu: int) -> str:
    """Return what a GPU is called by processes that see others of the machine's, or all in another order."""
    return str(getattr(torch.cuda.get_device_properties(gpu), "uuid", gpu))


def _lock_directory() -> Path:
    directory = Path(tempfile.gettempdir()) / f"fastbert-jobs-{os.getuid()}"
    # Whoever made it before is the user, or may not be trusted: then what is locked is nobody else's.
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    status = directory.lstat()
    is_own = directory.is_dir() and not directory.is_symlink() and status.st_uid == os.getuid()
    return directory if is_own else Path(tempfile.mkdtemp(prefix="fastbert-jobs-"))


def _lock_first_free(directory: Path, names: list[str]) -> int:
    """Return the index of the name that fewest processes hold, and hold it until this one ends."""
    for index, path in _slots(directory, names):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        # Not closed: the lock is held until the process ends.
        return index
    raise AssertionError("slots do not end")


def _slots(directory: Path, names: list[str]) -> Iterator[tuple[int, Path]]:
    for slot in count():
        for index, name in enumerate(names):
            yield index, directory / f"gpu-{name}-{slot}.lock"
