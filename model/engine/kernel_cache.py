"""How many of its compiled kernels oneDNN keeps."""

import os

# Its own name for it. What users have set stays.
_VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
# Of 1,024, its default, a bfloat16 job of millions of rows fills up all. Chosen by measurement
# (docs/performance.md).
CAPACITY = 256


def limit_kernel_cache() -> None:
    """Let oneDNN keep as many kernels as a job needs, and not as many as it may ever meet.

    It compiles one for every shape and keeps the last ones used, some 150 KB each. Call this before the first
    product of the process; later it does nothing.
    """
    os.environ.setdefault(_VARIABLE, str(CAPACITY))
