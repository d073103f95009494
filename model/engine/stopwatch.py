"""Where the seconds of an engine go."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

EMBEDDINGS = "embeddings"


def layer_name(layer: int) -> str:
    """Return what the seconds of a layer, from 1, are told under; of the last one with the classifier."""
    return f"layer_{layer}"


def branch_name(exit_layer: int) -> str:
    """Return what the seconds of the branch of an exit are told under; 0 is the lexical one."""
    return f"branch_{exit_layer}"


class Stopwatch:
    """Seconds by name, summed over threads."""

    def __init__(self, *, is_running: bool = True) -> None:
        """Start at nothing, and stay there if it is not to run."""
        self._is_running = is_running
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @property
    def seconds(self) -> dict[str, float]:
        """What was measured so far, by name."""
        with self._lock:
            return dict(self._seconds)

    def seconds_since(self, before: Mapping[str, float]) -> dict[str, float]:
        """Return what was measured since `seconds` was `before`, by name."""
        return {name: seconds - before.get(name, 0.0) for name, seconds in self.seconds.items()}

    @contextmanager
    def measure(self, name: str, *, num_cores: int = 1) -> Iterator[None]:
        """Add the seconds that the body takes.

        Args:
            name: what to add them to.
            num_cores: how many cores it has to itself.
        """
        if not self._is_running:
            yield
            return
        started = perf_counter()
        try:
            yield
        finally:
            seconds = (perf_counter() - started) * num_cores
            with self._lock:
                self._seconds[name] += seconds
