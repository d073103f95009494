"""Input that changes in the middle of a job, and between a job that was killed and its rerun."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from drills.forked import Words, kill, run, when_begun
from drills.home import Home
from drills.report import Report
from tests.job_fixtures import make_texts, snapshot, write_csv, write_jsonl, write_parquet, write_tsv

_WRITERS = {"tsv": write_tsv, "csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}
_TEXTS = make_texts(400)


def _edited(path: Path) -> None:
    """Change a letter, the size staying as it is; in Parquet a byte of a page."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(content)


_CHANGES: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "grown": lambda path: path.write_bytes(path.read_bytes() * 2),
    "edited": _edited,
}


def drill_changing_input(home: Home, scratch: Path) -> Report:
    """Change the input when the first shard is there, or after the job was killed then; restore it, run."""
    report = Report("input changed")
    for format, write in _WRITERS.items():
        path = write(scratch / f"rows.{format}", {"text": _TEXTS})
        content = path.read_bytes()
        words: Words = (
            "score", "--input", path, "--text-column", "text", "--model", home.path / "fastbert",
            "--speed", 0.7, "--rows-per-shard", 20,
        )  # fmt: skip
        output = scratch / "out"
        shutil.rmtree(output, ignore_errors=True)
        run((*words, "--output", output), scratch / "log")
        whole = snapshot(output)
        for name, change in _CHANGES.items():
            for is_killed in (False, True):
                shutil.rmtree(output)
                what = f"{format} {name} {'after a kill' if is_killed else 'while it is read'}"
                act = kill if is_killed else partial(_apply, change, path)
                ended = run(
                    (*words, "--output", output), scratch / "log", while_running=when_begun(output, act)
                )
                if is_killed:
                    change(path)
                    ended = run((*words, "--output", output), scratch / "log")
                    report.check(ended.is_refusal, f"{what}: {ended.status}, {ended.last_line}")
                else:
                    # Who had read all of it before did what was asked for.
                    is_fine = ended.is_refusal or (not ended.status and snapshot(output) == whole)
                    report.check(is_fine, f"{what}: {ended.status}, {ended.last_line}")
                path.write_bytes(content)
                ended = run((*words, "--output", output), scratch / "log")
                report.check(
                    not ended.status and snapshot(output) == whole, f"{what}, restored: {ended.last_line}"
                )
    return report


def _apply(change: Callable[[Path], object], path: Path, _: int) -> None:
    change(path)
