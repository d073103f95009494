"""Drills: what must hold whatever fails, tried many times over; `make drill` runs them all.

Each prints what was tried and how often it held; any that did not is named, and the exit code is 1.
"""

import os

# Before torch is imported: of tiny models a second thread does nothing but wait, by spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
