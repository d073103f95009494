import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from model.engine import stopwatch
from model.engine.stopwatch import Stopwatch


@pytest.fixture(autouse=True)
def clock_of_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock go on by a second whenever it is looked at."""
    clock = count()
    monkeypatch.setattr(stopwatch, "perf_counter", lambda: next(clock))


def test_seconds_are_summed_by_name():
    watch = Stopwatch()
    for name in ("a", "b", "a"):
        with watch.measure(name):
            pass
    assert watch.seconds == {"a": 2, "b": 1}


def test_a_part_that_has_several_cores_to_itself_counts_for_all_of_them():
    watch = Stopwatch()
    with watch.measure("a", num_cores=3):
        pass
    assert watch.seconds == {"a": 3}


def test_what_fails_takes_time_too():
    watch = Stopwatch()
    with pytest.raises(ValueError, match="no"), watch.measure("a"):
        raise ValueError("no")
    assert watch.seconds == {"a": 1}


def test_seconds_of_all_threads_are_counted(monkeypatch: pytest.MonkeyPatch):
    watch, clocks = Stopwatch(), threading.local()

    def tick() -> int:
        clocks.now = getattr(clocks, "now", 0) + 1
        return clocks.now

    def measure(name: str) -> None:
        with watch.measure(name):
            pass

    monkeypatch.setattr(stopwatch, "perf_counter", tick)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(measure, "abc" * 100))
    assert watch.seconds == {"a": 100, "b": 100, "c": 100}


def test_what_was_measured_since_is_told():
    watch = Stopwatch()
    with watch.measure("a"):
        pass
    before = watch.seconds
    for name in ("a", "b"):
        with watch.measure(name):
            pass
    assert watch.seconds_since(before) == {"a": 1, "b": 1}


def test_one_that_does_not_run_tells_nothing():
    watch = Stopwatch(is_running=False)
    with watch.measure("a"):
        pass
    assert watch.seconds == {}
