"""How many compiled kernels are kept."""

import os

# A kernel is compiled for every shape, and takes some 150 KB. oneDNN keeps the last ones used, and torch's
# bridge to it some of its own in every thread: 1,024 each by default, which bfloat16 jobs of many rows fill.
# Chosen by measurement (docs/performance.md).
KEPT_BY_ONEDNN, KEPT_BY_TORCH = 64, 16
_VARIABLES = {
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": KEPT_BY_ONEDNN,
    "LRU_CACHE_CAPACITY": KEPT_BY_TORCH,
}


def limit_kernel_cache() -> None:
    """Keep as many kernels as a job needs at a time, and not as many as it may ever meet.

    Call this before the first product of the process; later it does nothing. What users have set stays.
    """
    for variable, number in _VARIABLES.items():
        os.environ.setdefault(variable, str(number))
