"""What benchmarks print, and what the commands that they run do not."""

import contextlib
import io
import sys
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def silently(command: Callable[[], Result]) -> Result:
    """Return `command()`, with nothing written to the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return command()


def say(text: str) -> None:
    """Print how far a benchmark has come."""
    print(text, file=sys.stderr, flush=True)
