"""Commands run in a child of this process, which has imported all that takes long already."""

import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Each command imports its own only when it is run.
import jobs.commands.audit
import jobs.commands.calibrate
import jobs.commands.distill
import jobs.commands.finetune
import jobs.commands.label_teacher
import jobs.commands.score  # noqa: F401
from jobs.cli import main

Words = tuple[object, ...]

# Of a command that never ends.
HUNG = -1000
_POLL_SECONDS = 0.005


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended.

    Attributes:
        status: exit code, less than 0 for a signal, `HUNG` for one that did not end.
        output: what it printed, both streams.
        seconds: that it took.
        peak_megabytes: of its memory, what it had as it was forked included.
    """

    status: int
    output: str
    seconds: float
    peak_megabytes: float

    @property
    def last_line(self) -> str:
        """The last line that it printed."""
        return (self.output.strip().splitlines() or [""])[-1]

    @property
    def is_refusal(self) -> bool:
        """Whether it was refused in one line, with exit code 2."""
        return (
            self.status == 2
            and "Traceback" not in self.output
            and self.last_line.startswith("fastbert-jobs: ")
        )


def run(
    words: Words,
    log: Path,
    *,
    before: Callable[[], object] = lambda: None,
    while_running: Callable[[int], object] = lambda _: None,
    timeout: float = 120.0,
) -> Ended:
    """Run a command line in a child.

    Args:
        words: of the command line, the program's name left out.
        log: where it prints to.
        before: done in the child before the command.
        while_running: called with the child's number again and again until it ends.
        timeout: seconds until the child is killed.
    """

    def command() -> None:
        before()
        main([str(word) for word in words])

    started = time.monotonic()
    child = _fork(command, log)
    is_hung = False
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - started > timeout and not is_hung:
            is_hung = True
            os.kill(child, signal.SIGKILL)
        while_running(child)
        time.sleep(_POLL_SECONDS)
    return Ended(
        status=HUNG if is_hung else os.waitstatus_to_exitcode(status),
        output=log.read_text(errors="replace"),
        seconds=time.monotonic() - started,
        peak_megabytes=usage.ru_maxrss / 1024,
    )


def when_begun(output: Path, action: Callable[[int], object]) -> Callable[[int], None]:
    """Return what does something once, to `run` as `while_running`: as soon as a shard is in `output`."""
    is_done = False

    def look(child: int) -> None:
        nonlocal is_done
        if not is_done and next(output.glob("part-*"), None):
            is_done = True
            action(child)

    return look


def kill(child: int) -> None:
    """Kill a child, as the system does that has no memory left."""
    os.kill(child, signal.SIGKILL)


def in_child(action: Callable[[], object], log: Path) -> None:
    """Do something in a child.

    Raises:
        RuntimeError: if it fails.
    """
    if os.waitpid(_fork(action, log), 0)[1]:
        raise RuntimeError(log.read_text())


def _fork(action: Callable[[], object], log: Path) -> int:
    child = os.fork()
    if child:
        return child
    code = 0
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        action()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - it is printed, and this process ends here
        traceback.print_exc()
        code = 70
    finally:
        os._exit(code)
