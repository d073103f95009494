"""How many cores the operators of one thread take.

`torch.set_num_threads` does not only that: it also changes what threads that start later take.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch


def set_threads_of_this_thread(count: int) -> bool:
    """Let operators called from this thread take `count` cores; other threads, later ones too, keep theirs.

    Returns:
        Whether torch's libraries can be told so: they can where they compute by OpenMP, and export what sets
        MKL's own number if they have MKL.
    """
    library = _torch_library()
    set_openmp = getattr(library, "omp_set_num_threads", None)
    set_mkl = getattr(library, "MKL_Set_Num_Threads_Local", None)
    if set_openmp is None or (set_mkl is None and torch.backends.mkl.is_available()):
        return False
    # torch sets a thread's number to the process's when it is first asked for it.
    torch.get_num_threads()
    set_openmp(count)
    if set_mkl is not None:
        set_mkl(count)
    return torch.get_num_threads() == count


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch take `count` threads meanwhile, so that engines that are made get as many cores.

    Args:
        count: None for as many as it takes now.
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


@cache
def _torch_library() -> ctypes.CDLL | None:
    """Return torch's library of operators, which knows the symbols of the libraries that it stands on."""
    for path in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            continue
    return None
