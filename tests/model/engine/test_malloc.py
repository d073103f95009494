import ctypes

import pytest

from model.engine.malloc import disable_malloc_trim


@pytest.fixture
def asked_anew():
    disable_malloc_trim.cache_clear()
    yield
    disable_malloc_trim.cache_clear()


def test_glibc_does_as_told(asked_anew):
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("another C library")
    assert disable_malloc_trim()


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_systems_go_without(asked_anew, monkeypatch, error):
    def missing(_):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not disable_malloc_trim()
