"""One job on every engine that is at hand: are the bytes the same, and how long does it take?

    python -m benchmarks.jobs.engines --model FASTBERT --input FILE --text-column text

Clusters are of worker processes of this machine; Flink and Spark run where the jar of Beam's job server is
given. Writes a Parquet file; report.py makes a table of it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.results import RESULTS, machine, write_rows
from benchmarks.terminal import say
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ROWS, ScoreManifest, read_manifest
from tests.clusters import dask_cluster, worker_pool
from tests.job_fixtures import snapshot

Words = Sequence[str]


def main() -> None:
    args = parse_args()
    job = ["score", "--model", args.model, "--input", args.input, "--text-column", args.text_column]
    job += ["--speed", str(args.speed), "--rows-per-shard", str(args.rows_per_shard), "--threads", "1"]
    engines: dict[str, Callable[[Words], None]] = {
        "this process": run,
        "two processes (`--workers 2`)": lambda job: run([*job, "--workers", "2"]),
        "parts, two at a time (`--items`)": in_parts,
        "Dask, two workers": on_dask,
        "Beam's job service, one worker": on_portable_runner,
    }
    for name in ("flink", "spark"):
        if jar := getattr(args, f"{name}_job_server_jar"):
            words = ["--runner", f"{name.capitalize()}Runner", f"--{name}_job_server_jar", jar]
            engines[name.capitalize()] = lambda job, words=words: run([*job, *words])
    rows: list[dict[str, object]] = []
    expected = None
    # What else the machine does, on average over five minutes.
    load = os.getloadavg()[1]
    with tempfile.TemporaryDirectory() as home:
        for number, (name, start) in enumerate(engines.items()):
            output = Path(home) / str(number)
            say(name)
            begun = time.monotonic()
            start([*job, "--output", str(output)])
            seconds = time.monotonic() - begun
            written = {path: bytes_ for path, bytes_ in snapshot(output).items() if path != "_PLAN.parquet"}
            expected = expected or written
            rows.append({"engine": name, "bytes_equal": written == expected, "seconds": seconds})
            say(f"{seconds:.0f} s, bytes equal: {written == expected}")
        manifest = read_manifest(OutputLayout(str(output)), ScoreManifest)
    environment = {
        **machine(threads=1, libraries=("torch", "apache-beam", "dask")),
        "rows": manifest.counts[ROWS],
        "items": len(manifest.shards),
        "layers": manifest.flops.num_layers,
        "load": load,
    }
    write_rows(args.output, rows, environment)


def run(words: Words) -> None:
    done = subprocess.run([sys.executable, "-m", "jobs", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())


def in_parts(job: Words) -> None:
    run([*job, "--plan-only"])
    parts = [
        subprocess.Popen(
            [sys.executable, "-m", "jobs", *job, "--items", f"{part}/2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for part in range(2)
    ]
    assert [part.wait() for part in parts] == [0, 0]
    run([*job, "--finish"])


def on_dask(job: Words) -> None:
    with dask_cluster() as address:
        run([*job, "--runner", "DaskRunner", "--dask_client_address", address])


def on_portable_runner(job: Words) -> None:
    with worker_pool() as address:
        environment = ["--environment_type", "EXTERNAL", "--environment_config", address]
        run([*job, "--runner", "PortableRunner", "--job_endpoint", "embed", *environment])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="FastBERT checkpoint")
    parser.add_argument("--input", required=True, help="file of texts")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--speed", type=float, default=0.5)
    parser.add_argument("--rows-per-shard", type=int, default=1000)
    parser.add_argument("--flink-job-server-jar")
    parser.add_argument("--spark-job-server-jar")
    parser.add_argument("--output", type=Path, default=RESULTS / "engines.parquet")
    return parser.parse_args()


if __name__ == "__main__":
    main()
