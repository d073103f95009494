"""A command is killed, and run again: its output is that of a run that was never killed.

It is killed at every point at which it opens a file for writing, renames, makes or removes one below its
output; before that, and where it opens a file also just after it was made empty. While weights are written,
which Python is not told of. And at random moments.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drills.forked import Ended, Words, run
from drills.home import Command, Home
from drills.report import Report
from tests.job_fixtures import snapshot

_WRITING = os.O_WRONLY | os.O_RDWR
_LOOKING_SECONDS = 0.1
# Of a training of one epoch: its state, and what it comes to.
_FILES_OF_WEIGHTS = 2
_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.symlink")


@dataclass(frozen=True, kw_only=True)
class Kill:
    """When a command is killed.

    Attributes:
        point: which write.
        is_after_truncation: whether the file is made empty first.
    """

    point: int
    is_after_truncation: bool


def _watch_writes(directory: Path, log: Path | None, kill: Kill | None) -> None:
    """Count this process's writes below the parent of a directory, and kill it at one of them.

    Args:
        directory: the output; what stands beside it under a like name belongs to it.
        log: gets a letter for each write; None for none.
        kill: when to end; None for never.
    """
    count = 0
    is_busy = False

    def on_event(event: str, args: tuple[object, ...]) -> None:
        nonlocal count, is_busy
        if is_busy or not _is_write(event, args, directory):
            return
        is_busy = True
        if log is not None:
            with log.open("a") as file:
                file.write("t" if event == "open" else "-")
        elif kill is not None and count == kill.point:
            if kill.is_after_truncation:
                os.close(os.open(str(args[0]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        is_busy = False

    sys.addaudithook(on_event)


def _is_write(event: str, args: tuple[object, ...], directory: Path) -> bool:
    if event != "open" and event not in _CHANGES:
        return False
    if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITING):
        return False
    path = args[0].decode() if isinstance(args[0], bytes) else str(args[0])
    return path.startswith(str(directory))


def kill_points(command: Command, scratch: Path) -> list[Kill]:
    """Return every point at which a command writes."""
    log = scratch / "writes"
    log.write_text("")
    output = scratch / "counted"
    _do(command, command.first, output, scratch)
    _do(command, (command.step,), output, scratch, before=partial(_watch_writes, output, log, None))
    shutil.rmtree(output)
    writes = log.read_text()
    return [
        Kill(point=point, is_after_truncation=late)
        for point, kind in enumerate(writes)
        for late in ((False, True) if kind == "t" else (False,))
    ]


def drill_writes(home: Home, scratch: Path, names: Iterable[str] | None = None, *, every: int = 1) -> Report:
    """Kill commands at their writes, at every so many of them."""
    report = Report("killed at a write")
    for command in _chosen(home, names):
        points = kill_points(command, scratch)
        whole = _whole(command, scratch)
        for kill in points[::every]:
            output = _prepared(command, scratch)
            ended = run(
                (*command.words, *command.step, "--output", output), scratch / "log",
                before=partial(_watch_writes, output, None, kill),
            )  # fmt: skip
            what = f"{command.name} at write {kill.point}{' (emptied)' * kill.is_after_truncation}"
            report.check(
                ended.status == -signal.SIGKILL and _recovers(command, output, scratch, whole, report), what
            )
        report.notes.append(f"{command.name}: {len(points[::every])} of {len(points)} points")
    return report


def drill_weights(home: Home, scratch: Path, num_trials: int) -> Report:
    """Kill trainings while they write weights or state: safetensors fills a file of its own name before.

    Of each training every file is tried so many times; one that was whole too soon is counted in the notes.
    """
    report = Report("killed while weights were written")
    for command in _chosen(home, ("distill", "finetune")):
        whole = _whole(command, scratch)
        num_missed = 0
        for place in range(_FILES_OF_WEIGHTS):
            for _ in range(num_trials):
                _run_until_weights(command, scratch, place)
                num_missed += not any(_weights_being_written(scratch))
                what = f"{command.name} at file {place} of weights"
                report.check(_recovers(command, scratch / "out", scratch, whole, report), what)
        num_kills = _FILES_OF_WEIGHTS * num_trials
        report.check(num_missed < num_kills, f"{command.name}: no file was met half-written")
        report.notes.append(f"{command.name}: {num_missed} of {num_kills} whole before the kill")
    return report


def _run_until_weights(command: Command, scratch: Path, place: int) -> None:
    """Run a command until a file of weights is begun, the first is 0, or to its end."""
    output = _prepared(command, scratch)
    seen: set[Path] = set()

    def look(child: int) -> None:
        # Without a pause: such a file is there for some milliseconds.
        until = time.monotonic() + _LOOKING_SECONDS
        while time.monotonic() < until:
            seen.update(_weights_being_written(scratch))
            if len(seen) > place:
                os.kill(child, signal.SIGKILL)
                return

    run((*command.words, *command.step, "--output", output), scratch / "log", while_running=look)


def _weights_being_written(scratch: Path) -> Iterable[Path]:
    return scratch.glob("out.partial/.tmp*")


def drill_moments(home: Home, scratch: Path, num_moments: int, names: Iterable[str] | None = None) -> Report:
    """Kill commands at random moments, a third of them twice."""
    report = Report("killed at a random moment")
    draw = random.Random(0)
    for command in _chosen(home, names or home.commands):
        whole = _whole(command, scratch)
        output = _prepared(command, scratch)
        seconds = run((*command.words, *command.step, "--output", output), scratch / "log").seconds
        for _ in range(num_moments):
            output = _prepared(command, scratch)
            moments = [draw.uniform(0.05, seconds) for _ in range(1 + (draw.random() < 1 / 3))]
            again: tuple[object, ...] = ()
            for moment in moments:
                _run_until((*command.words, *command.step, *again, "--output", output), scratch, moment)
                again = command.again
            what = f"{command.name} after {' and '.join(f'{moment:.3f} s' for moment in moments)}"
            report.check(_recovers(command, output, scratch, whole, report), what)
    return report


def _run_until(words: tuple[object, ...], scratch: Path, moment: float) -> Ended:
    started = time.monotonic()

    def kill(child: int) -> None:
        if time.monotonic() - started > moment:
            os.kill(child, signal.SIGKILL)

    return run(words, scratch / "log", while_running=kill)


def _recovers(command: Command, output: Path, scratch: Path, whole: object, report: Report) -> bool:
    """Run a killed command again, and return whether its output is what it must be, and nothing beside it."""
    for step in (command.step, *command.then):
        ended = run((*command.words, *step, *command.again, "--output", output), scratch / "log")
        # A command that was killed after its last write is done.
        if not (is_done := not ended.status or "exists already" in ended.last_line):
            break
    found = command.as_compared(snapshot(output)) if output.is_dir() else None
    beside = [path.name for path in scratch.glob("out?*") if ".old-" not in path.name]
    if not is_done or beside:
        report.notes.append(f"{ended.last_line or 'nothing said'} {beside}")
    elif found != whole:
        report.notes.append(f"another content: {_different(found, whole)}")
    return is_done and found == whole and not beside


def _different(found: object, whole: object) -> str:
    """Return the names of the files that differ, where files are compared."""
    if not (isinstance(found, dict) and isinstance(whole, dict)):
        return "what is compared of the output"
    return ", ".join(name for name in sorted({**found, **whole}) if found.get(name) != whole.get(name))


def _whole(command: Command, scratch: Path) -> object:
    """Return what a run writes that is never killed, and does all in one step."""
    shutil.rmtree(scratch / "whole", ignore_errors=True)
    _do(command, ((),), scratch / "whole", scratch)
    return command.as_compared(snapshot(scratch / "whole"))


def _prepared(command: Command, scratch: Path) -> Path:
    """Return an output in which there is what a command begins with, and nothing else."""
    for path in scratch.glob("out*"):
        shutil.rmtree(path)
    output, ready = scratch / "out", scratch / f"before {command.name}"
    if command.first and not ready.exists():
        # Made in its place, whose name is part of the plan.
        _do(command, command.first, output, scratch)
        output.rename(ready)
    if command.first:
        shutil.copytree(ready, output)
    return output


def _do(
    command: Command,
    steps: Iterable[Words],
    output: Path,
    scratch: Path,
    before: Callable[[], object] = lambda: None,
) -> None:
    """Do steps of a command, none of which may fail."""
    for step in steps:
        ended = run((*command.words, *step, "--output", output), scratch / "log", before=before)
        if ended.status:
            raise RuntimeError(f"{command.name} failed: {ended.output}")


def _chosen(home: Home, names: Iterable[str] | None) -> list[Command]:
    known = {**home.commands, **home.steps}
    return [known[name] for name in names or known]
