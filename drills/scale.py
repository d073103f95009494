"""Much input: memory stays as it is, and many small files are no trouble."""

import json
import resource
import time
from pathlib import Path

from drills.forked import Ended, Words, in_child, run
from drills.home import Home
from drills.report import Report
from tests.job_fixtures import make_texts, write_tsv
from tests.many_files import ROWS_OF_A_FILE, ManyFiles

_FEW, _MANY = 100_000, 2_000_000
_MORE_MEMORY = 1.15  # of many rows over few
_FILES, _ROWS_OF_A_FILE = 5_000, 3
_MOST_BYTES_AN_ITEM = 10_000


def drill_many_rows(home: Home, scratch: Path) -> Report:
    """Score 100,000 rows and 2,000,000 in the same memory."""
    report = Report("2,000,000 rows")
    texts = make_texts(1_000, longest=6)
    peaks = []
    for num_rows in (_FEW, _MANY):
        path = write_tsv(
            scratch / "rows.tsv", {"text": [f"{texts[row % 1_000]} {row}" for row in range(num_rows)]}
        )
        ended = _score(home, scratch, ("--input", path))
        peaks.append(ended.peak_megabytes)
        what = f"{num_rows:,} rows: {ended.peak_megabytes:,.0f} MB, {num_rows / ended.seconds:,.0f} rows/s"
        report.notes.append(what)
        report.check(not ended.status and f"{num_rows:,} rows, 0 rejected" in ended.output, ended.last_line)
    report.check(
        peaks[1] < _MORE_MEMORY * peaks[0], f"memory grew from {peaks[0]:,.0f} to {peaks[1]:,.0f} MB"
    )
    return report


def drill_many_files(home: Home, scratch: Path) -> Report:
    """Score 5,000 files of three rows."""
    report = Report("5,000 small files")
    (scratch / "files").mkdir()
    for number in range(_FILES):
        write_tsv(scratch / "files" / f"{number}.tsv", {"text": make_texts(_ROWS_OF_A_FILE, seed=number)})
    ended = _score(home, scratch, ("--input", scratch / "files"))
    report.notes.append(f"{ended.peak_megabytes:,.0f} MB, {ended.seconds:.0f} s")
    num_rows = _FILES * _ROWS_OF_A_FILE
    report.check(not ended.status and f"{num_rows:,} rows, 0 rejected" in ended.output, ended.last_line)
    return report


def drill_many_items(home: Home, scratch: Path, num_files: int = 100_000) -> Report:
    """Plan, resume and finish a job of 1,000,000,000 rows in 100,000 files; its shards are there already."""
    report = Report(f"{num_files * ROWS_OF_A_FILE:,} rows in {num_files:,} files")
    in_child(lambda: _walk(num_files, scratch / "found"), scratch / "log")
    found = json.loads((scratch / "found").read_text())
    report.notes += [f"{name}: {seconds:.1f} s" for name, seconds in found["seconds"].items()]
    an_item = found["bytes"] / num_files
    report.notes.append(f"{an_item:,.0f} bytes of memory an item")
    for name in found["seconds"]:
        report.check(True, name)
    report.check(an_item < _MOST_BYTES_AN_ITEM, f"{an_item:,.0f} bytes of memory an item")
    return report


def _walk(num_files: int, found: Path) -> None:
    files = ManyFiles(num_files)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = {}
    for name, step in files.steps.items():
        started = time.process_time()
        step()
        seconds[name] = time.process_time() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found.write_text(json.dumps({"seconds": seconds, "bytes": grown * 1024}))


def _score(home: Home, scratch: Path, given: Words) -> Ended:
    words = (
        "score", *given, "--text-column", "text", "--model", home.path / "fastbert", "--speed", 0.9,
        "--overwrite", "--output", scratch / "out",
    )  # fmt: skip
    return run(words, scratch / "log", timeout=1800)
