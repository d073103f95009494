"""Work items done by a Beam runner."""

import logging
from collections import Counter
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.runner import PipelineResult

from jobs.driver.dask_cluster import as_dask_error, close_dask_client
from jobs.driver.dataflow import as_worker_error, describe_job
from jobs.terminal.console import stdout_console
from model.errors import FastBertJobsError, ItemError
from model.messages import one_line
from pipeline.contract.manifest import Manifest
from pipeline.contract.plan import WorkItem
from pipeline.contract.work_times import WorkTimes
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.write_shards import METRICS_NAMESPACE, write_items

_LOGGER = logging.getLogger(__name__)


def run_on_beam(pipeline: beam.Pipeline, job: CorpusJob[Manifest], items: Sequence[WorkItem]) -> WorkTimes:
    """Do work items, and return what they took; nothing where the runner does not tell.

    Args:
        pipeline: an empty one, on its runner.
        job: what is done with the rows.
        items: to be done.

    Raises:
        FastBertJobsError: if the runner fails, or a worker that cannot even write what went wrong.
        KeyboardInterrupt: if the user interrupted it, of which Beam makes another error.
    """
    write_items(pipeline, job, items)
    try:
        return _wait(pipeline.run())
    except Exception as error:
        # Runners raise what they like; the last of the chain is where it began.
        cause = _first_cause(error)
        raise (_as_one_line(cause) if isinstance(cause, Exception) else cause) from error


def _wait(result: PipelineResult) -> WorkTimes:
    try:
        if where := describe_job(result):
            stdout_console().print(where, soft_wrap=True)
        result.wait_until_finish()
        return _work_times(result)
    finally:
        close_dask_client(result)


def _first_cause(error: BaseException) -> BaseException:
    while found := error.__cause__ or error.__context__:
        error = found
    return error


def _as_one_line(cause: Exception) -> FastBertJobsError:
    if isinstance(cause, FastBertJobsError):
        return cause
    if known := as_worker_error(cause) or as_dask_error(cause):
        return known
    if isinstance(cause, OSError):
        return ItemError(f"{one_line(cause)}; run the same command again when it is mended")
    return ItemError(f"{type(cause).__name__}: {one_line(cause)}")


def _work_times(result: PipelineResult) -> WorkTimes:
    try:
        counters = result.metrics().query(MetricsFilter().with_namespace(METRICS_NAMESPACE))["counters"]
        counts: Counter[str] = Counter()
        for counter in counters:
            # Of several steps, where a runner has made them of one.
            counts[counter.key.metric.name] += counter.result
        return WorkTimes.of_counts(counts)
    except NotImplementedError:
        # Of a runner that never tells, as Dask's.
        return WorkTimes()
    except Exception as error:  # noqa: BLE001 - the job is finished, and worth more than how long it took
        _LOGGER.warning("the runner does not tell how long workers took: %s", error)
        return WorkTimes()
