"""Ctrl-C at any moment: one line, exit code 130, and the next run ends with the bytes of a whole one."""

import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from drills.forked import Words, run
from drills.home import Home
from drills.report import Report
from jobs.terminal.interrupts import EXIT_INTERRUPTED, exit_on_interrupt
from tests.job_fixtures import snapshot


def drill_interrupts(
    home: Home, scratch: Path, num_moments: int, *, num_workers: Sequence[int] = (1, 2)
) -> Report:
    """Send every process of a command what a terminal sends them, at random moments."""
    report = Report("interrupted")
    draw = random.Random(0)
    for workers in num_workers:
        command = home.commands["score"]
        words: Words = (*command.words, "--rows-per-shard", 4, "--workers", workers)
        whole = run((*words, "--output", scratch / "whole"), scratch / "log")
        expected = snapshot(scratch / "whole")
        for _ in range(num_moments):
            moment = draw.uniform(0.0, 0.9 * whole.seconds)
            given: Words = (*words, "--output", scratch / "out")
            ended = run(
                given,
                scratch / "log",
                before=partial(_lead_group, given),
                while_running=_interrupt_after(moment),
            )
            is_told = ended.status == EXIT_INTERRUPTED and "Traceback" not in ended.output
            # One that was done before it came is done.
            is_fine = (is_told and ": interrupted" in ended.last_line) or not ended.status
            report.check(
                is_fine, f"{workers} workers after {moment:.2f} s: {ended.status}, {ended.last_line}"
            )
            ended = run(given, scratch / "log")
            same = snapshot(scratch / "out") == expected
            report.check(not ended.status and same, f"{workers} workers, again: {ended.last_line} ({same})")
            shutil.rmtree(scratch / "out")
        shutil.rmtree(scratch / "whole")
    return report


def _lead_group(words: Words) -> None:
    exit_on_interrupt([str(word) for word in words])
    # From now on it is interrupted, as a whole.
    os.setpgid(0, 0)


def _interrupt_after(moment: float) -> "partial[None]":
    return partial(_interrupt, [moment], time.monotonic())


def _interrupt(left: list[float], started: float, child: int) -> None:
    """Interrupt a child's group, once."""
    if left and time.monotonic() - started > left[0] and os.getpgid(child) == child:
        left.clear()
        os.killpg(child, signal.SIGINT)
