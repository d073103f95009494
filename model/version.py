"""Versions of what is computed."""

# Raised with every change after which the same job gives other numbers: kernels, packing, the sweep,
# branches, the search for thresholds. It is part of every job's fingerprint: no directory mixes two of them.
NUMERICS_VERSION = 5
