"""What a large job costs beside its model: its driver a file and a shard, its output a row, a worker's start.

    python -m benchmarks.jobs.scale

The driver is tried on names in an object store that is in memory (tests/many_files.py), so that what is
counted is its own work; an object store's answers come on top. Seconds are of the processor. The rows are of
random texts of 1 to 12 words and three labels, half of their texts scored by branches. Writes a Parquet file;
tools/scale.py makes the tables of docs/scale.md from it.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.results import RESULTS, machine, write_rows
from benchmarks.terminal import say
from tests.job_fixtures import make_texts, write_classifier, write_fastbert, write_tsv
from tests.many_files import ManyFiles
from tests.pipeline.contract.score_jobs import Store

_LAYERS, _HIDDEN_SIZE = 12, 384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--output", type=Path, default=RESULTS / "scale.parquet")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        measured = {**of_driver(args.files), **of_rows(Path(home), args.rows), **of_start(Path(home))}
    rows = [{"what": what, "value": value} for what, value in measured.items()]
    environment = {
        **machine(threads=torch.get_num_threads(), libraries=("torch", "pyarrow", "apache-beam")),
        "files": args.files,
        "rows": args.rows,
        "model": f"{_LAYERS} layers of {_HIDDEN_SIZE}",
    }
    write_rows(args.output, rows, environment)


def of_driver(num_files: int) -> dict[str, float]:
    """Return what a driver's steps take a file, of which each is one shard; and its files' bytes."""
    found = {}
    files = ManyFiles(num_files)
    for name, step in files.steps.items():
        started = time.process_time()
        step()
        found[f"{name}, s"] = (time.process_time() - started) / num_files
        say(f"{name}: {found[f'{name}, s'] * 1e6:.0f} us")
    layout = files.layout
    job, manifest = (len(Store.files[path]) / num_files for path in (layout.job, layout.manifest))
    # A manifest holds the input files as the description does.
    return {
        **found,
        "description, bytes a file": job,
        "manifest, bytes a shard": manifest - job,
        "plan, bytes an item": len(Store.files[layout.plan]) / num_files,
    }


def of_rows(home: Path, num_rows: int) -> dict[str, float]:
    """Return the bytes of a row in shards of scores and of labels, of a small job."""
    model = write_fastbert(home / "fastbert", write_classifier(home / "teacher"))
    rows = write_tsv(home / "rows.tsv", {"text": make_texts(num_rows)})
    given = ("--input", rows, "--text-column", "text")
    _run("score", *given, "--model", model, "--speed", "0.5", "--output", home / "scores")
    _run("label-teacher", *given, "--teacher", home / "teacher", "--output", home / "labels")
    return {
        f"{name}, bytes a row": sum(path.stat().st_size for path in (home / name).glob("part-*")) / num_rows
        for name in ("scores", "labels")
    }


def of_start(home: Path) -> dict[str, float]:
    """Return what a worker takes before its first row: a command of one row."""
    teacher = write_classifier(home / "large", num_layers=_LAYERS, hidden_size=_HIDDEN_SIZE)
    model = write_fastbert(home / "large-fastbert", teacher)
    row = write_tsv(home / "row.tsv", {"text": ["able"]})
    seconds = _run(
        "score", "--input", row, "--text-column", "text", "--model", model, "--speed", "0.5",
        "--output", home / "one",
    )  # fmt: skip
    return {"start-up, s": seconds}


def _run(*words: object) -> float:
    """Run a command, and return the processor's seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "jobs", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
