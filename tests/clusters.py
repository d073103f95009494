"""Workers of other engines, each a process of this machine, on loopback."""

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
ON_LOOPBACK = ("--host", "127.0.0.1", "--no-dashboard")
ONE_THREAD = ("--nthreads", "1", "--no-nanny")
# Beam's own program for it listens on all interfaces.
POOL = """
import sys
import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

server = grpc.server(shared_unbounded_instance())
port = server.add_insecure_port("127.0.0.1:0")
pool = BeamFnExternalWorkerPoolServicer(use_process=True)
beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
server.start()
print("listening at", port, file=sys.stderr, flush=True)
sys.stdin.read()
"""


@contextmanager
def started(*words: str, said: str, **variables: str) -> Iterator[str]:
    """Start Python with some words, and yield the first line of its standard error that has `said` in it."""
    paths = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, **paths, **variables},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        line = next(line for line in process.stderr if said in line)
        # Read on, for it would wait for its reader.
        rest = threading.Thread(target=deque, args=(process.stderr, 0), daemon=True)
        rest.start()
        yield line
    finally:
        process.kill()
        process.wait()


@contextmanager
def dask_cluster(num_workers: int = 2, **variables: str) -> Iterator[str]:
    """Start a scheduler and workers, and yield the scheduler's address."""
    with ExitStack() as programs:
        scheduler = ("-m", "distributed.cli.dask_scheduler", *ON_LOOPBACK, "--port", "0")
        line = programs.enter_context(started(*scheduler, said="Scheduler at:", **variables))
        address = line.split()[-1]

        # One beside the other: they import a lot.
        def start_worker() -> None:
            worker = ("-m", "distributed.cli.dask_worker", address, *ON_LOOPBACK, *ONE_THREAD)
            programs.enter_context(started(*worker, said="Registered to:"))

        threads = [threading.Thread(target=start_worker) for _ in range(num_workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield address


@contextmanager
def worker_pool() -> Iterator[str]:
    """Start what starts workers for Beam's portable runners, and yield its address."""
    # A worker is started with the `python` that the path finds.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with started("-c", POOL, said="listening at", PATH=path) as line:
        yield f"localhost:{line.split()[-1]}"
