"""Dask: what is added to a user's options, and what is refused before anything is written.

Beam's Dask runner drops what `finish_bundle` puts out, mixes tagged outputs and knows no metrics; the graph
of `write_shards` needs none of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from jobs.configs.runner import RunnerConfig
from model.errors import EnvironmentMismatchError, FastBertJobsError, ItemError, ParameterError
from model.messages import one_line
from pipeline.contract.worker_environment import check_environment, environment

DASK_RUNNER = "DaskRunner"

# Beam knows it by its path alone.
_PATH = "apache_beam.runners.dask.dask_runner.DaskRunner"
_CONNECTION_SECONDS = 10
_INSTALL = "pip install -c constraints.txt '.[dask]'"


def is_dask(runner: str) -> bool:
    """Return whether a runner, named or with its path, is Dask's."""
    return runner in (DASK_RUNNER, _PATH)


def dask_args(beam_args: Sequence[str]) -> tuple[str, ...]:
    """Return the runner, a user's Beam options, and the defaults that they leave open.

    An item is a task of its own, for Dask would give a hundred of them to one worker.

    Raises:
        ParameterError: if Dask is not installed.
    """
    given = _dask_options(beam_args)
    defaults = {
        "--dask_partition_size=1": not {"partition_size", "npartitions"} & given.keys(),
        f"--dask_connection_timeout={_CONNECTION_SECONDS}": "timeout" not in given,
    }
    return (f"--runner={_PATH}", *beam_args, *(option for option, is_open in defaults.items() if is_open))


def check_dask(runner: RunnerConfig) -> None:
    """Refuse a cluster that is not there, has no workers, or whose workers have other libraries.

    Nothing is said of other runners.

    Raises:
        ParameterError: if no cluster is named, or it does not answer.
        EnvironmentMismatchError: if scheduler or workers lack this package, or have another version of it.
    """
    if not is_dask(runner.runner):
        return
    given = _dask_options(dask_args(runner.beam_args))
    if not {"address", "scheduler_file"} & given.keys():
        # Dask would start a cluster of its own, whose pages all machines around could read.
        raise ParameterError(
            f"`runner` {DASK_RUNNER} needs a cluster: give --dask_client_address tcp://HOST:PORT of its "
            "scheduler, or --dask_scheduler_file; on this machine alone, `workers` does without Dask"
        )
    with _client(given) as client:
        if not client.scheduler_info()["workers"]:
            raise ParameterError("the Dask cluster has no workers: start some with `dask worker`")
        _check_environments(client)


def close_dask_client(result: PipelineResult) -> None:
    """Let go of the cluster that a job ran on; of other runners there is nothing to let go of."""
    if hasattr(result, "client") and hasattr(result, "futures"):
        result.client.close()


def as_dask_error(error: Exception) -> FastBertJobsError | None:
    """Return what a failed job's error means where we know it; None where we do not."""
    if type(error).__name__ == "KilledWorker":
        return ItemError(
            f"workers of the Dask cluster died of an item, one after another: {one_line(error)}; have they "
            "enough memory for the model?"
        )
    return None


def _dask_options(beam_args: Sequence[str]) -> dict[str, Any]:
    try:
        from apache_beam.runners.dask.dask_runner import DaskOptions
    # Without Dask the module fails with whatever comes first.
    except (ImportError, AttributeError) as error:
        raise ParameterError(f"`runner` {DASK_RUNNER} needs Dask: {_INSTALL}") from error
    options = PipelineOptions(list(beam_args)).view_as(DaskOptions)
    found: dict[str, Any] = options.get_all_options(drop_default=True, current_only=True)
    return found


@contextmanager
def _client(options: Mapping[str, Any]) -> Iterator[Any]:
    from distributed import Client

    of_bags = ("partition_size", "npartitions")
    settings = {name: value for name, value in options.items() if name not in of_bags}
    file = options.get("scheduler_file")
    if file and not Path(file).is_file():
        # Dask would wait for it.
        raise ParameterError(f"there is no Dask scheduler file {file!r}")
    where = options.get("address") or file
    try:
        client = Client(**settings)
    # Of whatever kind: what is no address is a ValueError, what is no scheduler an OSError.
    except Exception as error:
        raise ParameterError(f"there is no Dask scheduler at {where}: {one_line(error)}") from error
    with client:
        yield client


def _check_environments(client: Any) -> None:
    """Refuse a cluster whose machines have other libraries than this one."""
    try:
        # The scheduler unpacks the graph, too.
        client.run_on_scheduler(check_environment, environment())
        client.run(check_environment, environment())
    except EnvironmentMismatchError:
        raise
    except Exception as error:
        raise EnvironmentMismatchError(
            f"scheduler or workers of the Dask cluster lack fastbert-jobs: {one_line(error)}; install it "
            "there, of this version"
        ) from error
