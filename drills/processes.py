"""Worker processes that are killed, drivers that are, and what all of them listen on."""

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from drills.forked import HUNG, kill, run, when_begun
from drills.home import Home
from drills.report import Report
from tests.job_fixtures import snapshot
from tests.sockets import listening_sockets

_TRIALS = 5
_SECONDS = 60.0
_SECONDS_TO_DIE = 8.0  # for workers whose driver is gone


def drill_killed_workers(home: Home, scratch: Path) -> Report:
    """Kill one worker, all of them, or the driver: the job goes on or fails in a minute, a rerun ends it."""
    report = Report("workers killed")
    # Of one row each, so that there is always more to do.
    score = (*home.commands["score"].words, "--rows-per-shard", 1, "--workers", 2)
    words = (*score, "--output", scratch / "out")
    run(words, scratch / "log")
    whole = snapshot(scratch / "out")
    draw = random.Random(0)
    for victim in ("one worker", "all workers", "driver") * _TRIALS:
        shutil.rmtree(scratch / "out")
        seen: list[int] = []

        def strike(child: int, victim: str = victim, seen: list[int] = seen) -> None:
            seen += filter(_is_worker, children(child))
            targets = {"one worker": [draw.choice(seen)], "all workers": seen, "driver": [child]}
            for each in targets[victim]:
                kill(each)

        act = when_begun(scratch / "out", strike)
        ended = run(words, scratch / "log", while_running=act, timeout=_SECONDS)
        is_told = victim == "driver" or "the worker process was killed" in ended.output
        report.check(ended.status != HUNG and is_told, f"{victim}: {ended.status}, {ended.last_line}")
        deadline = time.monotonic() + _SECONDS_TO_DIE
        while any(map(_is_there, seen)) and time.monotonic() < deadline:
            time.sleep(0.05)
        report.check(not any(map(_is_there, seen)), f"{victim}: workers live on")
        ended = run(words, scratch / "log")
        same = snapshot(scratch / "out") == whole
        report.check(not ended.status and same, f"{victim}, again: {ended.last_line} (same bytes: {same})")
    return report


def drill_sockets(home: Home, scratch: Path, names: Sequence[str] = ()) -> Report:
    """Look again and again at what every command listens on, and all processes that it starts."""
    report = Report("sockets")
    cases = {name: command.words for name, command in home.commands.items()}
    for name in ("label-teacher", "score"):
        cases[f"{name} --workers 2"] = (*home.commands[name].words, "--workers", 2)
    for name in names or cases:
        words = cases[name]
        found: set[str] = set()
        looks = 0

        def look(child: int, found: set[str] = found) -> None:
            nonlocal looks
            looks += 1
            for process in (child, *children(child)):
                try:
                    found.update(listening_sockets(process))
                except OSError:  # it has just ended
                    continue

        ended = run(
            (*words, "--output", scratch / name.replace(" ", "")), scratch / "log", while_running=look
        )
        report.check(not ended.status and not found, f"{name}: {found}, {ended.last_line}")
        report.notes.append(f"{name}: looked {looks} times")
    return report


def children(process: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    try:
        own = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [each for child in map(int, own) for each in (child, *children(child))]


def _is_worker(process: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()


def _is_there(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
