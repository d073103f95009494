import subprocess
import sys
from pathlib import Path

from drills.__main__ import DRILLS
from drills.report import Report


def test_a_report_names_what_did_not_hold():
    report = Report("a drill")
    for number in range(3):
        report.check(number != 1, f"number {number}")
    assert report.num_tried == 3
    assert str(report).splitlines() == ["a drill: 2 of 3 held", "  BROKEN: number 1"]


def test_a_few_of_the_kills_and_sockets_hold():
    """In a process of its own: who forks must not have computed before."""
    done = subprocess.run(
        [sys.executable, "-m", "drills", "--quick"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    held = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.endswith(" held")]
    assert len(held) == 3
    assert all(not line.startswith("0 of") for line in held)


def test_the_document_names_every_drill():
    document = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    assert all(f"`{name}`" in document for name in DRILLS)
