"""Commands without what they print."""

import contextlib
import io
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def silently(command: Callable[[], Result]) -> Result:
    """Return `command()`, with nothing written to the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return command()
