"""Models that this process has loaded already, so that driver and worker in one process load once."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

Loaded = TypeVar("Loaded")
Held = TypeVar("Held", covariant=True)


class Holder(Generic[Held]):
    """Keeps what was loaded alive for as long as it is kept itself."""

    def __init__(self, loaded: Held) -> None:
        """Hold `loaded`."""
        self.loaded = loaded


_HOLDERS: WeakValueDictionary[Hashable, Holder[Any]] = WeakValueDictionary()
# What was loaded here last: of a runner that makes a worker anew for every item, as Dask's, nobody else keeps
# it from one item to the next.
_LAST_LOADED: list[Holder[Any]] = []
_LOCK = Lock()


def hold(key: Hashable, loaded: Loaded) -> Holder[Loaded]:
    """Let workers of this process find `loaded` under `key` while the returned holder is kept."""
    holder = Holder(loaded)
    _HOLDERS[key] = holder
    return holder


def acquire(key: Hashable, load: Callable[[], Loaded]) -> Holder[Loaded]:
    """Return the holder under `key`; without one `load` is called, by one thread at a time."""
    with _LOCK:
        holder = _HOLDERS.get(key)
        if holder is None:
            # The old one goes first: there may be no memory for both.
            _LAST_LOADED.clear()
            holder = hold(key, load())
            _LAST_LOADED.append(holder)
        return holder
