import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.job_fixtures import CommandLine, make_texts, write_tsv

HERE = Path(__file__).parents[3]


def run_program(program: str, *args: object, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, started with Ctrl-C heeded or ignored."""
    how = signal.SIG_IGN if ignored else signal.SIG_DFL
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, how),
    )


# Where an exception would be lost or made into another, and a write that is interrupted.
PLACES = {
    "plain": "interrupt()",
    "caught": "try: interrupt()\nexcept BaseException: pass",
    "destructor": "class Thing:\n    def __del__(self): interrupt()\nThing()",
    "printing": "class Stream:\n    def write(self, text): interrupt()\nprint('x', file=Stream())",
    "thread": "import threading\nt = threading.Thread(target=interrupt)\nt.start()\nt.join()",
}


def interrupted(place: str, command: str) -> str:
    """What a command says that is interrupted somewhere."""
    program = (
        "import os, signal\n"
        "from jobs.terminal.interrupts import exit_on_interrupt\n"
        f"exit_on_interrupt(['--verbose', {command!r}, '--speed', 'score'])\n"
        "print('so far')\n"
        "def interrupt(): os.kill(os.getpid(), signal.SIGINT)\n"
        f"{PLACES[place]}\n"
        "print('it went on')\n"
    )
    done = run_program(program)
    assert (done.returncode, done.stdout) == (130, "so far\n")
    return done.stderr


@pytest.mark.parametrize("place", PLACES)
def test_ctrl_c_is_one_line_wherever_it_comes(place: str):
    assert interrupted(place, "audit") == "fastbert-jobs: interrupted\n"


@pytest.mark.parametrize(
    ("command", "cure"),
    [
        ("score", "run the same command again to go on"),
        ("label-teacher", "run the same command again to go on"),
        ("distill", "run it again with --resume to go on"),
    ],
)
def test_who_interrupts_is_told_how_to_go_on(command: str, cure: str):
    assert interrupted("plain", command) == f"fastbert-jobs: interrupted; {cure}\n"


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_of_the_processes_of_torchrun_the_first_says_it(
    monkeypatch: pytest.MonkeyPatch, rank: str, lines: int
):
    numbers = {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}
    for name, value in {**numbers, "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert len(interrupted("plain", "distill").splitlines()) == lines


def test_who_was_told_to_ignore_it_does(tmp_path: Path):
    program = (
        "import os, signal\n"
        "from jobs.terminal.interrupts import exit_on_interrupt\n"
        "exit_on_interrupt([])\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('it went on')\n"
    )
    assert run_program(program, ignored=True).stdout == "it went on\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_in_the_middle_of_a_job_is_one_line_and_the_next_run_goes_on(
    command: CommandLine, fastbert: Path, tmp_path: Path, workers: int
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": make_texts(60)})
    program = (
        "import os, signal, sys\n"
        "import pipeline.transforms.item_worker as item_worker\n"
        "import jobs.driver.worker_processes as worker_processes\n"
        "from jobs.__main__ import run\n"
        "interrupted = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)\n"
        "item_worker.write_shard = interrupted\n"
        "worker_processes.wait = interrupted\n"
        "run()\n"
    )
    args = (
        "score", "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.7,
        "--output", tmp_path / "out", "--rows-per-shard", 20,
    )  # fmt: skip
    done = run_program(program, *args, "--workers", workers)
    assert done.returncode == 130, done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1] == "fastbert-jobs: interrupted; run the same command again to go on"
    assert not [line for line in lines if "Traceback" in line or "Interrupt" in line]
    assert "60 rows, 0 rejected" in command(*args)
