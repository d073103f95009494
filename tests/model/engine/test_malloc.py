import ctypes
import subprocess
import sys

import pytest

from model.engine.malloc import disable_malloc_trim, trim_malloc


@pytest.fixture
def asked_anew():
    disable_malloc_trim.cache_clear()
    yield
    disable_malloc_trim.cache_clear()


needs_glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="another C library"
)


@needs_glibc
def test_glibc_does_as_told(asked_anew):
    assert disable_malloc_trim()


# In a process of its own: what others of this one's threads free meanwhile is nobody's to count.
HOLES = """
import sys
from pathlib import Path
from model.engine.malloc import disable_malloc_trim, trim_malloc

def resident_mib():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024

assert disable_malloc_trim()
blocks = [b"x" * (1 << 16) for _ in range(2000)]
kept = blocks[::2]
del blocks
with_holes = resident_mib()
assert trim_malloc()
print(with_holes - resident_mib())
"""


@needs_glibc
def test_holes_between_blocks_in_use_are_given_back():
    child = subprocess.run([sys.executable, "-c", HOLES], check=True, stdout=subprocess.PIPE, text=True)
    assert float(child.stdout) > 40


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_systems_go_without(asked_anew, monkeypatch, error):
    def missing(_):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not disable_malloc_trim()
    assert not trim_malloc()


def test_a_command_line_that_asks_for_it_loads_no_torch():
    code = "import sys, model.engine.malloc; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_engine_leaves_the_process_alone(asked_anew, make_fastbert, make_engine, monkeypatch):
    def refuse(_):
        raise AssertionError("an engine asks the C library for something")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    make_engine(make_fastbert("bert"))
