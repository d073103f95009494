"""A pytest plugin: what tests leave to those that run beside them, and do not spend on what stays."""

import gc
import os

# Of every process that a test starts too, and before a library is imported that reads it. Threads that wait
# for work by spinning take from others what the products of tiny models do not gain by them.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Until all is imported: a look at a million objects that stay takes a quarter of a second, again and again.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collection, which goes on here."""
    gc.freeze()
    gc.enable()
