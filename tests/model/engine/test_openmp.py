import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from model.engine import openmp
from model.engine.core_pool import CorePool
from model.engine.openmp import set_threads_of_this_thread, torch_threads


@pytest.fixture
def pool():
    """A thread, for what it is told not to reach the tests' own."""
    with ThreadPoolExecutor(1) as pool:
        if not pool.submit(set_threads_of_this_thread, 2).result():
            pytest.skip("a torch without OpenMP")
        yield pool


def test_a_thread_takes_as_many_cores_as_it_is_told_and_no_other_does(pool):
    before = torch.get_num_threads()
    for count in (1, 3):
        assert pool.submit(set_threads_of_this_thread, count).result()
        assert pool.submit(torch.get_num_threads).result() == count
        assert torch.get_num_threads() == before


def test_a_thread_that_starts_meanwhile_takes_the_processs_number(pool, monkeypatch):
    """Unlike by torch's own function, which a pool of cores therefore does without."""
    monkeypatch.setattr(torch, "set_num_threads", None)
    before, counts = torch.get_num_threads(), []
    cores = CorePool(2)

    def start_another(_: int) -> int:
        thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return torch.get_num_threads()

    assert cores.map(start_another, range(4)) == [1] * 4
    assert counts == [before] * 4


@pytest.mark.parametrize("library", [None, object()])
def test_a_torch_without_the_symbols_is_told(library, monkeypatch):
    monkeypatch.setattr(openmp, "_torch_library", lambda: library)
    assert not set_threads_of_this_thread(1)


def test_a_torch_whose_mkl_cannot_be_told_is_told(monkeypatch):
    class WithoutMkl:
        omp_set_num_threads = staticmethod(lambda _: None)

    monkeypatch.setattr(openmp, "_torch_library", WithoutMkl)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert not set_threads_of_this_thread(1)


@pytest.mark.parametrize("count", [1, 3])
def test_engines_made_meanwhile_get_so_many_cores_and_the_process_its_own_back(count):
    before = torch.get_num_threads()
    with torch_threads(count):
        assert torch.get_num_threads() == count
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), torch_threads(count):
        raise KeyError
    assert torch.get_num_threads() == before


def test_no_number_changes_nothing():
    before = torch.get_num_threads()
    with torch_threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
