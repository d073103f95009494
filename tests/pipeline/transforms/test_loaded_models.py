import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from pipeline.transforms.loaded_models import Holder, acquire, hold


class Model:
    """Something that is dear to load."""


@pytest.fixture
def loads() -> list[int]:
    return []


@pytest.fixture
def key() -> Iterator[object]:
    yield object()
    gc.collect()


def test_what_is_held_is_found(key: object):
    model = Model()
    holder = hold(key, model)
    assert acquire(key, lambda: pytest.fail("it is loaded already")) is holder
    assert holder.loaded is model


def test_what_is_not_held_is_loaded_once(key: object, loads: list[int]):
    def load() -> Model:
        loads.append(1)
        return Model()

    first = acquire(key, load)
    assert acquire(key, load) is first
    assert len(loads) == 1


def test_nothing_outlives_the_last_who_holds_it(key: object, loads: list[int]):
    holder: Holder[Model] | None = hold(key, Model())
    assert holder is not None
    del holder
    gc.collect()
    acquire(key, lambda: loads.append(1))
    assert loads == [1]


def test_keys_that_are_equal_are_the_same():
    holder = hold(("task", 1), Model())
    assert acquire(("task", 1), Model) is holder
    assert acquire(("task", 2), Model) is not holder


def test_threads_that_come_at_once_load_once(key: object, loads: list[int]):
    begun, go_on = Event(), Event()

    def load() -> Model:
        loads.append(1)
        begun.set()
        assert go_on.wait(timeout=60)
        return Model()

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(acquire, key, load)
        assert begun.wait(timeout=60)
        others = [pool.submit(acquire, key, load) for _ in range(3)]
        go_on.set()
        holders = [future.result() for future in (first, *others)]
    assert len(loads) == 1
    assert all(holder is holders[0] for holder in holders)


def test_a_load_that_fails_is_tried_again(key: object):
    def fail() -> Model:
        raise OSError("not yet")

    with pytest.raises(OSError, match="not yet"):
        acquire(key, fail)
    assert isinstance(acquire(key, Model).loaded, Model)
