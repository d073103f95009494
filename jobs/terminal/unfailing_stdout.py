"""Standard output that may be closed, full or nobody's any more: the work is worth more than its lines."""

import os
import sys
from io import TextIOBase
from typing import TextIO, cast

# What went wrong first, of this process.
_failures: list[Exception] = []


def unfailing_stdout() -> TextIO:
    """Return a stream to standard output; what cannot be written is left out."""
    return cast(TextIO, _UnfailingStream(sys.stdout))


def stdout_failure() -> Exception | None:
    """Return why something could not be written; None where all was, or the reader had enough."""
    return next((error for error in _failures if not isinstance(error, BrokenPipeError)), None)


class _UnfailingStream(TextIOBase):
    def __init__(self, stream: TextIO | None) -> None:
        # None where the process was started without one.
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8" if self._stream is None else self._stream.encoding

    def isatty(self) -> bool:
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise OSError("there is no standard output")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        self._attempt(text)
        return len(text)

    def flush(self) -> None:
        self._attempt("")

    def close(self) -> None:
        """Do nothing: Python closes a stream that is forgotten, and would write to what others closed."""

    def _attempt(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError) as error:
            _failures.append(error)
            self._stream = None
            _discard_what_follows()


def _discard_what_follows() -> None:
    """Let what is left in Python's own buffer go nowhere, where it would fail once more at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
