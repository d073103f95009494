"""A corpus of as many files as one likes: names in an object store that all hold the same bytes.

Nothing of it takes room, so that a job over 100,000 files can be planned, resumed and finished by a test.
"""

import io
from collections.abc import Callable
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contract.columns import Columns
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import LabelManifest, read_manifest
from pipeline.reading.inputs import inspect_inputs
from pipeline.reading.stored_inputs import read_inputs, write_inputs
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.item_job import ItemJob
from pipeline.transforms.item_worker import write_shard
from tests.pipeline.contract.score_jobs import Store
from tests.pipeline.transforms.shout_jobs import ShoutTask

ROWS_OF_A_FILE = 10_000
CORPUS, OUTPUT = "teststore://corpus/", "teststore://out"


class ManyFiles:
    """A job over very many files, from listing them to reading its manifest.

    Attributes:
        num_files: of 10,000 rows each, a shard of each.
        steps: what a driver does, in order; each raises where it does not come out right.
    """

    def __init__(self, num_files: int) -> None:
        """Put the files into the store, which must be empty."""
        self.num_files = num_files
        content = io.BytesIO()
        pq.write_table(pa.table({"text": ["a text"] * ROWS_OF_A_FILE}), content)
        for number in range(num_files):
            Store.files[f"{CORPUS}{number:06d}.parquet"] = content.getvalue()
        self.steps: dict[str, Callable[[], None]] = {
            "list and inspect": self._inspect,
            "plan": self._plan,
            "describe and claim": self._claim,
            "write and read the plan": self._store_plan,
            "a shard of each item": self._finish_shards,
            "resume scan": self._resume,
            "commit": self._commit,
            "read the manifest": self._read_manifest,
            "claim what is finished": self._resume,
        }

    @cached_property
    def job(self) -> CorpusJob[LabelManifest]:
        """The job, its files listed and inspected."""
        inputs = inspect_inputs([f"{CORPUS}*.parquet"], Columns(text="text"), rows_per_shard=ROWS_OF_A_FILE)
        return CorpusJob(task=ShoutTask(), inputs=inputs, output=OUTPUT)

    @property
    def layout(self) -> OutputLayout:
        """Of the output."""
        return OutputLayout(OUTPUT)

    def _inspect(self) -> None:
        assert len(self.job.inputs.sources) == self.num_files

    def _plan(self) -> None:
        assert self.job.plan.num_rows == self.num_files * ROWS_OF_A_FILE
        assert len(self.job.plan.items) == self.num_files

    def _store_plan(self) -> None:
        write_inputs(self.layout.plan, self.job.inputs, {})
        assert read_inputs(self.layout.plan) == (self.job.inputs, {})

    def _claim(self) -> None:
        assert self.job.claim() == set()

    def _finish_shards(self) -> None:
        first, *others = self.job.plan.items
        write_shard(ItemJob.of(self.job), first, "!")
        content = Store.files[self.layout.shard(first.shard_name)]
        for item in others:
            Store.files[self.layout.shard(item.shard_name)] = content

    def _resume(self) -> None:
        assert self.job.pending(self.job.claim()) == []

    def _commit(self) -> None:
        manifest = self.job.commit()
        assert manifest.counts["rows"] == self.num_files * ROWS_OF_A_FILE

    def _read_manifest(self) -> None:
        assert len(read_manifest(self.layout, LabelManifest).shards) == self.num_files
