"""A disk that is full, and one that may not be written any more in the middle of a job."""

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

from drills.forked import run, when_begun
from drills.home import Home
from drills.report import Report
from tests.job_fixtures import snapshot

_SIZES = range(4, 400, 24)  # KiB, from next to nothing to enough


def drill_full_disk(home: Home, scratch: Path) -> Report:
    """Write to disks of all sizes; then, with room, again."""
    report = Report("disk full")
    for command in home.commands.values():
        ended = run((*command.words, "--output", scratch / "whole"), scratch / "log")
        whole = command.as_compared(snapshot(scratch / "whole"))
        shutil.rmtree(scratch / "whole")
        for size in _SIZES if command.name in ("label-teacher", "score", "calibrate") else (300, 900):
            disk = scratch / "disk"
            disk.mkdir()
            if not _mount(disk, f"size={size}k"):
                report.notes.append("no disk could be mounted: not tried")
                return report
            try:
                words = (*command.words, "--output", disk / "out")
                ended = run(words, scratch / "log")
                what = f"{command.name} with {size} KiB: {ended.status}, {ended.last_line}"
                report.check(ended.is_refusal or not ended.status, what)
                _mount(disk, "remount,size=64m")
                ended = run((*words, *command.again), scratch / "log")
                is_done = not ended.status or "exists already" in ended.last_line
                same = (disk / "out").is_dir() and command.as_compared(snapshot(disk / "out")) == whole
                report.check(is_done and same, f"{what}; with room: {ended.last_line} (same bytes: {same})")
            finally:
                subprocess.run(["umount", disk], check=True)
                disk.rmdir()
    return report


def drill_read_only(home: Home, scratch: Path) -> Report:
    """Forbid writing as soon as the first shard is there; allow it, and run again."""
    report = Report("disk made read-only in the middle of a job")
    for name in ("label-teacher", "score"):
        command, disk = home.commands[name], scratch / "disk"
        run((*command.words, "--output", scratch / "whole"), scratch / "log")
        whole = snapshot(scratch / "whole")
        shutil.rmtree(scratch / "whole")
        for _ in range(5):
            disk.mkdir()
            if not _mount(disk, "size=64m"):
                report.notes.append("no disk could be mounted: not tried")
                return report
            try:
                words = (*command.words, "--output", disk / "out")
                forbid = when_begun(disk / "out", partial(_forbid_writing, disk))
                ended = run(words, scratch / "log", while_running=forbid)
                report.check(
                    ended.is_refusal or not ended.status, f"{name}: {ended.status}, {ended.last_line}"
                )
                _mount(disk, "remount,rw")
                ended = run(words, scratch / "log")
                same = snapshot(disk / "out") == whole
                report.check(
                    not ended.status and same, f"{name} again: {ended.last_line} (same bytes: {same})"
                )
            finally:
                subprocess.run(["umount", disk], check=True)
                disk.rmdir()
    return report


def _forbid_writing(disk: Path, _: int) -> None:
    # As soon as nobody has a file open for writing.
    while not _mount(disk, "remount,ro"):
        pass


def _mount(disk: Path, options: str) -> bool:
    """Mount a disk in memory, and return whether that is allowed here; a busy one is left as it is."""
    if os.geteuid():
        return False
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
