"""What a model adds to its attention scores, kept once."""

import threading

from torch import Tensor

from model.engine.packed.attention import Bias


class LongestBias:
    """A `Bias` that keeps the longest text's only: a shorter one's is its first rows and columns.

    One tensor is held, (heads, length, length); one for every length up to 512 would be 2 GiB of float32 with
    12 heads.
    """

    def __init__(self, compute: Bias) -> None:
        """Take what a length's bias is computed by."""
        self._compute = compute
        self._longest: Tensor | None = None
        self._lock = threading.Lock()

    def __call__(self, length: int) -> Tensor | None:
        """Return (heads, length, length), a view; None for nothing."""
        longest = self._longest
        if longest is None or longest.shape[-1] < length:
            longest = self._compute_longest(length)
        return None if longest is None else longest[:, :length, :length]

    def _compute_longest(self, length: int) -> Tensor | None:
        with self._lock:
            # Another thread may have been here meanwhile.
            if self._longest is None or self._longest.shape[-1] < length:
                self._longest = self._compute(length)
            return self._longest
