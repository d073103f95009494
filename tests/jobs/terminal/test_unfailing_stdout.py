import gc
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.terminal import unfailing_stdout
from jobs.terminal.unfailing_stdout import stdout_failure

PROGRAM = """
import sys
from jobs.terminal.console import stdout_console
from jobs.terminal.unfailing_stdout import stdout_failure
for number in range(3000):
    stdout_console().print(f"line {number} caf\u00e9")
print(stdout_failure(), file=sys.stderr)
"""


def run_with(stdout: int | None) -> subprocess.CompletedProcess[str]:
    """Run the program with such a standard output, None for none."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        preexec_fn=None if stdout is not None else lambda: os.close(1),
    )


def test_what_can_be_written_is():
    done = run_with(subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "None\n")
    assert done.stdout.splitlines() == [f"line {number} café" for number in range(3000)]


def test_a_reader_that_had_enough_is_no_failure():
    ours, theirs = os.pipe()
    os.close(ours)
    done = run_with(theirs)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "None\n")


def test_a_closed_one_is_no_failure():
    done = run_with(None)
    assert (done.returncode, done.stderr) == (0, "None\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_full_one_is_told_and_the_program_goes_on():
    with Path("/dev/full").open("w") as full:
        done = run_with(full.fileno())
    assert (done.returncode, done.stderr) == (0, "[Errno 28] No space left on device\n")


def test_a_stream_that_is_forgotten_when_standard_output_is_closed_fails_nothing(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(unfailing_stdout, "_failures", [])
    monkeypatch.setattr(unfailing_stdout, "_discard_what_follows", lambda: None)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    stream = unfailing_stdout.unfailing_stdout()
    sys.stdout.close()
    del stream
    gc.collect()
    assert stdout_failure() is None
