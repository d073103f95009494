import ctypes
import subprocess
import sys

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


def test_a_command_line_that_asks_for_it_loads_no_torch():
    code = "import sys, model.engine.malloc; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_engine_leaves_the_process_alone(asked_anew, make_fastbert, make_engine, monkeypatch):
    def refuse(_):
        raise AssertionError("an engine asks the C library for something")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    make_engine(make_fastbert("bert"))
