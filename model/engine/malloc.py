"""How freed memory is kept between operators, and given back between shards."""

import ctypes
from collections.abc import Callable
from functools import cache

# Of glibc's malloc.h. Larger blocks, as a chunk's states, are given back to the system as before.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_THRESHOLD_BYTES, _TRIM_THRESHOLD_BYTES = 1 << 25, 1 << 30


@cache
def disable_malloc_trim() -> bool:
    """Let the process keep what operators free, since the next one asks for as much again.

    Otherwise every layer's states come from the system anew, a page at a time, which takes 6 % of the time of
    a float32 layer of 384 wide on two cores.

    Returns:
        Whether the C library can be told so: glibc can.
    """
    mallopt = _of_the_c_library("mallopt")
    return mallopt is not None and bool(
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        and mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)
    )


def trim_malloc() -> bool:
    """Give the system every whole page that the process has freed, wherever in the heap it lies.

    Between two shards, where nothing asks for as much again at once: otherwise the holes that rows of many
    sizes leave behind add up, and a long job grows.

    Returns:
        Whether the C library can do so (glibc can), and there was such a page.
    """
    malloc_trim = _of_the_c_library("malloc_trim")
    return malloc_trim is not None and bool(malloc_trim(0))


def _of_the_c_library(name: str) -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        # Other systems and other C libraries.
        return None
    return function
