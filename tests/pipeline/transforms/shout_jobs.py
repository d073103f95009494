"""A corpus job without a model, of seven rows."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from model.answers.task import Task
from model.errors import CheckpointError
from model.guarantee.unit import Unit
from pipeline.contract import schema
from pipeline.contract.columns import Columns
from pipeline.contract.job import LabelSettings
from pipeline.contract.manifest import LabelManifest
from pipeline.contract.plan import WorkItem
from pipeline.reading.inputs import ReadOptions, inspect_inputs
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.row_task import ProcessedRows
from tests.sockets import listening_sockets

TEXTS = ["one", "", "three", "four", " ", "six", "seven"]

READING = ReadOptions(columns=Columns(text="text"), id_type=None, kept=(), rows_per_shard=100)


@dataclass(frozen=True)
class ShoutTask:
    """A job without a model: texts in capitals."""

    reading: ReadOptions = READING
    fails_at: str = ""
    mistake_at: str = ""
    labels: tuple[str, ...] = ("a", "b")

    @property
    def settings(self) -> LabelSettings:
        return LabelSettings(
            model_hash=f"{self.fails_at}{self.mistake_at}", device="cpu", precision="fp32", backend="torch",
            max_length=5, columns=self.reading.columns, rows_per_shard=self.reading.rows_per_shard,
            calibration_fraction=0.0, unit=Unit.TEXTS, task=Task.ONE_LABEL, teacher_texts="",
        )  # fmt: skip

    def manifest(self, **fields: Any) -> LabelManifest:
        return LabelManifest(**fields, teacher="nobody")

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field("row", pa.int64()), pa.field("shout", pa.string()), *self.reading.kept])

    def load(self) -> str:
        return "!"

    def process(self, rows: pa.Table, source: str, loaded: str) -> ProcessedRows:
        texts = rows[schema.INPUT_TEXT].to_pylist()
        if self.fails_at in texts:
            raise KeyError(self.fails_at)
        if self.mistake_at in texts:
            raise CheckpointError(f"{self.mistake_at!r} is a mistake; cure it")
        shouts = [text.upper() + loaded for text in texts]
        table = pa.table([rows["row"], shouts], schema=self.schema)
        return ProcessedRows(
            rows=table,
            rejected=schema.rejected_schema().empty_table(),
            counts={"letters": sum(map(len, texts)), "windows": 1},
        )


def shard_job(
    output: Path, path: Path | None = None, task: ShoutTask | None = None, *, rows_per_shard: int = 100
) -> CorpusJob[LabelManifest]:
    """A job on the rows of `path`, the fixture's by default."""
    path = output.parent / "rows.tsv" if path is None else path
    inputs = inspect_inputs([str(path)], Columns(text="text"), rows_per_shard=rows_per_shard)
    return CorpusJob(task=task or ShoutTask(), inputs=inputs, output=str(output))


def items_of(job: CorpusJob[LabelManifest]) -> list[WorkItem]:
    return list(job.plan.items)


@dataclass(frozen=True)
class DeadlyTask(ShoutTask):
    """A text of it kills the process, as the system does that has no memory left."""

    deadly: str = "three"
    mercy: str = ""  # a file that the first death leaves, after which there is none

    def process(self, rows: pa.Table, source: str, loaded: str) -> ProcessedRows:
        if self.deadly in rows[schema.INPUT_TEXT].to_pylist() and not (
            self.mercy and Path(self.mercy).exists()
        ):
            if self.mercy:
                Path(self.mercy).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().process(rows, source, loaded)


@dataclass(frozen=True)
class WatchfulTask(ShoutTask):
    """Writes down what this process and the one that started it listen on."""

    report: str = ""

    def process(self, rows: pa.Table, source: str, loaded: str) -> ProcessedRows:
        found = [*listening_sockets(os.getpid()), *listening_sockets(os.getppid())]
        number = rows["row"][0].as_py()
        Path(self.report, f"{number}-{os.getpid()}").write_text("\n".join(found))
        return super().process(rows, source, loaded)
