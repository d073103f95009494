"""Artefacts that are damaged: what is read again is refused in one line, what can be made again is.

Never a traceback, and never bytes that are not those of a run of which nothing was damaged.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from drills.forked import run
from drills.home import Home
from drills.report import Report
from tests.job_fixtures import snapshot


def _flip(path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[int(share * (len(content) - 1))] ^= 0x40
        path.write_bytes(content)


def _cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def _relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _nest(path: Path) -> None:
    path.write_text('{"a":' * 100_000)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: _cut(path, 0.0),
    "halved": lambda path: _cut(path, 0.5),
    "without its last byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a bit flipped near its start": lambda path: _flip(path, 0.05),
    "a bit flipped in its middle": lambda path: _flip(path, 0.5),
    "a bit flipped near its end": lambda path: _flip(path, 0.97),
    "other content": lambda path: path.write_bytes(b"somebody else's\n" * 99),
    "nested deeply": _nest,
    "removed": Path.unlink,
    "a dangling link": _relink,
}


def _damaged(directory: Path, copy: Path) -> Iterator[tuple[str, Path]]:
    """Yield copies of a directory, in each of which one file is damaged in one way."""
    for name in snapshot(directory):
        for damage, apply in DAMAGES.items():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(directory, copy)
            apply(copy / name)
            yield f"{directory.name}/{name} {damage}", copy


def drill_outputs(home: Home, scratch: Path) -> Report:
    """Damage finished jobs, run them again with --verify, and hold them against what they were."""
    report = Report("output damaged, run again with --verify")
    for name, output in (("label-teacher", "labels"), ("score", "scores")):
        whole = snapshot(home.path / output)
        for what, copy in _damaged(home.path / output, scratch / "copy"):
            words = (*home.commands[name].words, "--verify", "--output", copy)
            ended = run(words, scratch / "log")
            if ended.status and "_JOB.json" in what:
                # Whose directory it is cannot be told: refused, and overwritten by who says so; without any
                # description it might be anybody's, and is never overwritten.
                report.check(ended.is_refusal, f"{what}: {ended.last_line}")
                if not (copy / "_JOB.json").exists():
                    continue
                ended = run((*words, "--overwrite"), scratch / "log")
            same = snapshot(copy) == whole
            report.check(not ended.status and same, f"{what}: {ended.last_line} (same bytes: {same})")
    return report


def drill_readers(home: Home, scratch: Path) -> Report:
    """Let the commands that read what others wrote read what is damaged."""
    report = Report("artefact damaged, read by the next command")
    path, copy = home.path, scratch / "copy"
    rows = ("--input", path / "rows.tsv", "--text-column", "text")
    readers = {
        "scores": [("audit", copy)],
        "labels": [
            ("distill", "--labels", copy, "--backbone", path / "teacher", "--epochs", 1),
            ("calibrate", "--labels", copy, "--model", path / "fastbert"),
        ],
        "calibration": [
            ("score", *rows, "--model", path / "fastbert", "--calibration", copy, "--target-speedup", 1.2)
        ],
        "fastbert": [("score", *rows, "--model", copy, "--speed", 0.5)],
        "teacher": [("label-teacher", *rows, "--teacher", copy)],
    }
    for directory, commands in readers.items():
        for words in commands:
            for what, _ in _damaged(path / directory, copy):
                shutil.rmtree(scratch / "out", ignore_errors=True)
                shutil.rmtree(scratch / "out.partial", ignore_errors=True)
                output = () if words[0] == "audit" else ("--output", scratch / "out")
                ended = run((*words, *output), scratch / "log")
                # Not every bit matters to every reader.
                is_fine = ended.is_refusal or not ended.status
                report.check(is_fine, f"{words[0]} of {what}: {ended.status}, {ended.last_line}")
    return report
