import threading

import pytest
import torch

from model.engine.core_pool import CorePool


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(count):
    assert CorePool(count).map(lambda item: item * item, range(40)) == [item * item for item in range(40)]


def test_one_core_is_the_callers_own_thread():
    assert CorePool(1).map(lambda _: threading.current_thread(), [0]) == [threading.current_thread()]


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_driven_may_map(count):
    cores = CorePool(count)
    assert cores.run_on_driver_thread(lambda: cores.map(lambda item: item + 1, range(5))) == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_driven_may_drive(count):
    cores = CorePool(count)
    assert cores.run_on_driver_thread(
        lambda: cores.run_on_driver_thread(lambda: cores.map(lambda item: item + 1, [1]))
    ) == [2]


def test_many_threads_may_drive_at_once():
    cores, found = CorePool(2), []
    threads = [
        threading.Thread(
            target=lambda: found.append(
                cores.run_on_driver_thread(lambda: cores.map(lambda item: item, range(20)))
            )
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == [list(range(20))] * 6


@pytest.mark.parametrize("is_openmp", [True, False])
def test_every_thread_computes_on_one_core_and_leaves_others_their_cores(is_openmp, monkeypatch):
    if not is_openmp:
        monkeypatch.setattr("model.engine.core_pool.set_threads_of_this_thread", lambda _: False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        cores = CorePool(3)
        assert set(cores.map(lambda _: torch.get_num_threads(), range(30))) == {1}
        assert cores.run_on_driver_thread(torch.get_num_threads) == 1
        assert torch.get_num_threads() == 5
        # What a thread that starts now believes.
        found = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert found == [5]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_threads_are_in_the_gradient_mode_of_the_caller(mode):
    def modes(_: int) -> tuple[bool, bool]:
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    cores = CorePool(2)
    with mode():
        assert set(cores.map(modes, range(6))) == {modes(0)}
        assert cores.run_on_driver_thread(lambda: modes(0)) == modes(0)
        assert set(cores.run_on_driver_thread(lambda: cores.map(modes, range(6)))) == {modes(0)}


def test_an_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        CorePool(2).map(lambda item: 1 // item, [1, 0, 1])
