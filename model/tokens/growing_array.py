"""An array that grows at its end."""

from typing import Any

import numpy as np
import numpy.typing as npt


class GrowingArray:
    """An array of one dimension; what it grows by is copied a few times over all."""

    def __init__(self, dtype: type[np.generic]) -> None:
        """Begin with nothing."""
        self._values = np.empty(1 << 12, dtype=dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> npt.NDArray[Any]:
        """All of it, until it grows again."""
        return self._values[: self._size]

    def extend(self, new: npt.NDArray[Any]) -> None:
        """Add values at the end."""
        size = self._size + len(new)
        if size > len(self._values):
            grown = np.empty(max(size, 2 * len(self._values)), dtype=self._values.dtype)
            grown[: self._size] = self.values
            self._values = grown
        self._values[self._size : size] = new
        self._size = size
