"""The examples of docs/many-machines.md, run as they stand, with local processes in place of a cluster.

The one thing that is replaced is the program that they all end in: it notes its words, which are then run
here, for to start it a dozen times takes a minute.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.job_fixtures import CommandLine, make_texts, snapshot, write_parquet

PAGE = (Path(__file__).parents[2] / "docs" / "many-machines.md").read_text(encoding="utf-8")
PROGRAMS = {
    "fastbert-jobs": "printf '%s\\0' \"$@\" >> words; echo >> words",
    # Starts a program on a node.
    "srun": 'exec "$@"',
}
# What the examples ask of their engines, done one after another in one process.
RAY = """
def remote(**options):
    return lambda function: type("Remote", (), {"remote": staticmethod(function)})

def get(done):
    return done
"""
SPARK = """
class SparkSession:
    class builder:
        def getOrCreate():
            return SparkSession

    class sparkContext:
        def parallelize(values, num_slices):
            SparkSession.values = values
            return SparkSession

    def foreach(function):
        for value in SparkSession.values:
            function(value)
"""


def example(section: str) -> str:
    """The first block of code below a heading."""
    found = re.search(rf"^#+ {section}\n.*?^```\w+\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def home(tmp_path: Path, fastbert: Path) -> Path:
    """Where the examples run."""
    (tmp_path / "corpus").mkdir()
    for number in range(3):
        write_parquet(tmp_path / "corpus" / f"{number}.parquet", {"text": make_texts(9, seed=number)})
    (tmp_path / "fastbert").symlink_to(fastbert)
    # Of so few texts, and a model of random weights, nothing can be promised.
    (tmp_path / "score.sh").write_text(
        example("Any scheduler").replace("--max-disagreement 0.01", "--speed 0.7")
    )
    (tmp_path / "programs").mkdir()
    for name, line in PROGRAMS.items():
        (tmp_path / "programs" / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / "programs" / name).chmod(0o755)
    return tmp_path


def run(home: Path, *words: str, **variables: str) -> None:
    """Start a program of an example."""
    path = f"{home / 'programs'}:{os.environ['PATH']}"
    subprocess.run(words, cwd=home, env={**os.environ, **variables, "PATH": path}, check=True)


def slurm(home: Path) -> None:
    (home / "array.sh").write_text(example("Slurm"))
    (tasks,) = re.findall(r"--array=0-(\d+)", example("Slurm"))
    run(home, "bash", "score.sh", "--plan-only")
    for task in range(int(tasks) + 1):
        variables = {
            "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_ARRAY_TASK_COUNT": str(int(tasks) + 1),
            "SLURM_CPUS_PER_TASK": "8",
        }
        run(home, "bash", "array.sh", **variables)
    run(home, "bash", "score.sh", "--finish")


def kubernetes(home: Path) -> None:
    job = yaml.safe_load(example("Kubernetes"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    run(home, "bash", "score.sh", "--plan-only")
    for index in range(job["spec"]["completions"]):
        words = [*container["command"], *container["args"]]
        run(home, *(word.replace("$(JOB_COMPLETION_INDEX)", str(index)) for word in words))
    run(home, "bash", "score.sh", "--finish")


def ray(home: Path) -> None:
    (home / "ray.py").write_text(RAY)
    (home / "job.py").write_text(example("Ray"))
    run(home, sys.executable, "job.py", PYTHONPATH=str(home))


def pyspark(home: Path) -> None:
    (home / "pyspark").mkdir()
    (home / "pyspark" / "__init__.py").write_text("")
    (home / "pyspark" / "sql.py").write_text(SPARK)
    (home / "job.py").write_text(example("PySpark"))
    run(home, sys.executable, "job.py", PYTHONPATH=str(home))


@pytest.mark.parametrize("schedule", [slurm, kubernetes, ray, pyspark])
def test_the_examples_do_the_whole_job(
    command: CommandLine, home: Path, schedule: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(home)
    schedule(home)
    calls = [line.split("\0")[:-1] for line in (home / "words").read_text().splitlines()]
    assert len(calls) == 12
    for call in calls:
        command(*call, "--rows-per-shard", 4)
    whole = [word for word in calls[0] if word != "--plan-only"]
    whole[whole.index("scores")] = "whole"
    command(*whole, "--rows-per-shard", 4)
    done = snapshot(home / "scores")
    del done["_PLAN.parquet"]
    assert done == snapshot(home / "whole")
