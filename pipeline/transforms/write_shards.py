"""The Beam graph, the same for all corpus jobs.

    Create(items) | Reshuffle | ParDo(one item -> one shard, its name)

Rows never cross a stage boundary, only descriptors and names do. So memory is flat in the number of rows,
a retried or doubled item replaces its own shard by the same bytes, and the graph runs unchanged on every
runner that we tried.
"""

from collections.abc import Iterator, Sequence
from threading import Lock

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import PBegin

from pipeline.contract.manifest import Manifest
from pipeline.contract.plan import WorkItem
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.item_job import ItemJob
from pipeline.transforms.item_worker import ItemWorker

METRICS_NAMESPACE = "fastbert"

# Of a process, whatever threads a runner has: an item uses all cores, and sums over threads must not change.
_ONE_ITEM = Lock()


class _WriteShard(beam.DoFn):
    """One work item in, one shard written, its name out; none where it failed."""

    def __init__(self, job: ItemJob) -> None:
        self._worker = ItemWorker(job)

    def setup(self) -> None:
        self._worker.start()

    def teardown(self) -> None:
        self._worker.stop()

    def process(self, item: WorkItem) -> Iterator[str]:
        with _ONE_ITEM:
            counts = self._worker.do(item)
        if counts is None:
            return
        for name, count in counts.items():
            Metrics.counter(METRICS_NAMESPACE, name).inc(count)
        yield item.shard_name


class WriteShards(beam.PTransform):
    """Work items to shards; returns a PCollection of the shards' names.

    What goes wrong with an item is left in the output directory, where `CorpusJob.commit` raises it. Worker
    processes that Beam starts want `PYTHONSAFEPATH=1` in their environment: a module of the user's in the
    working directory that is called `model` would otherwise be taken for ours.
    """

    def __init__(self, job: CorpusJob[Manifest]) -> None:
        """Say what is done with the rows of each item, and where the shards go."""
        super().__init__()
        self._job = job

    def expand(self, items: beam.PCollection[WorkItem]) -> beam.PCollection[str]:
        """Spread the items over the workers and write one shard for each."""
        return (
            items
            | "SpreadItems" >> beam.Reshuffle()
            | "WriteShard" >> beam.ParDo(_WriteShard(ItemJob.of(self._job))).with_output_types(str)
        )


def write_items(
    begin: beam.Pipeline | PBegin, job: CorpusJob[Manifest], items: Sequence[WorkItem]
) -> beam.PCollection[str]:
    """Return the names of the shards of some work items, written at the root of a pipeline."""
    return begin | "WorkItems" >> beam.Create(items) | "WriteShards" >> WriteShards(job)


class RunCorpusJob(beam.PTransform):
    """A whole corpus job at the root of a pipeline; returns a PCollection of its one manifest."""

    def __init__(self, job: CorpusJob[Manifest], kind: type[Manifest] = Manifest) -> None:
        """Say which job, and of what kind its manifest is."""
        super().__init__()
        self._job, self._kind = job, kind

    def expand(self, begin: PBegin) -> beam.PCollection[Manifest]:
        """Claim the output directory, write what is not finished, and commit."""
        job = self._job
        return (
            write_items(begin, job, job.pending(job.claim()))
            | "Gather" >> beam.combiners.ToList()
            | "WriteManifest" >> beam.Map(lambda _: job.commit()).with_output_types(self._kind)
        )
