"""Ctrl-C: the process ends at once, in one line.

An exception in its stead might be raised anywhere: Beam makes another one of it, with hundreds of lines, and
in a destructor it is lost. What is written is whole or has no name yet, so nothing need be cleared away.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import active_children

from jobs.terminal.launch import is_silent

EXIT_INTERRUPTED = 130
_RESUME_HINTS = {
    "label-teacher": "; run the same command again to go on",
    "score": "; run the same command again to go on",
    "distill": "; run it again with --resume to go on",
}
_SHOW_CURSOR = "\x1b[?25h\n"


def exit_on_interrupt(words: Sequence[str]) -> None:
    """Have Ctrl-C end this process with code 130, unless whoever started it had it ignored.

    Args:
        words: of the command line; the command says how to go on.
    """
    command = next((word for word in words if not word.startswith("-")), "")
    hint = _RESUME_HINTS.get(command, "")

    def end(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for child in active_children():
            child.kill()
        # The signal may have come in the middle of a write.
        with suppress(RuntimeError, OSError, ValueError):
            sys.stdout.flush()
        # A progress bar hides the cursor, and has left it in its line.
        start = _SHOW_CURSOR if os.isatty(2) else ""
        with suppress(OSError):
            if not is_silent():
                os.write(2, f"{start}fastbert-jobs: interrupted{hint}\n".encode())
        os._exit(EXIT_INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
