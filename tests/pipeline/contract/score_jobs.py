"""Score jobs of five rows, two shards and no model; and an object store for their output."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem
from transformers import BertConfig

from model.answers.rule import AnswerRule
from model.answers.scaling import Scaling
from model.answers.task import Task
from model.cost.network_flops import flops_model
from model.guarantee.unit import Unit
from pipeline.contract.columns import Columns
from pipeline.contract.job import InputEntry, JobDescription, LabelSettings, ScoreSettings
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import LabelManifest, ScoreManifest
from pipeline.contract.output import claim_output, commit
from pipeline.contract.plan import Plan, RowRange, make_plan
from pipeline.contract.shards import ShardWriter, with_metadata

SCHEMA = pa.schema({"a": pa.int64()})
PLAN = make_plan([("a.csv", "csv", [RowRange(first_row=0, num_rows=3), RowRange(first_row=3, num_rows=2)])])
NAMES = [item.shard_name for item in PLAN.items]
INPUT = InputEntry(path="a.csv", format="csv", size=9, checksum="c0ffee")
SCORE = ScoreSettings(
    model_hash="abc",
    device="cpu",
    precision="fp32",
    backend="onednn",
    max_length=24,
    columns=Columns(text="t", keep=("a",)),
    rows_per_shard=3,
    policy="speed 0.5",
    answer=AnswerRule(task=Task.ONE_LABEL),
    thresholds=(0.5, 0.5),
    scalings=(Scaling.by(1.0), Scaling(temperatures=(1.5, 2.0), biases=(0.0, -0.5))),
    lexical_threshold=0.25,
    lexical_scaling=Scaling.by(0.9),
    length_exponent=0.5,
    shadow_fraction=0.25,
    shadow_unit=Unit.TEXTS,
    sample_fraction=0.5,
)
LABEL = LabelSettings(
    model_hash="abc",
    device="cpu",
    precision="fp32",
    backend="onednn",
    max_length=24,
    columns=Columns(text="t"),
    rows_per_shard=3,
    calibration_fraction=0.1,
    unit=Unit.TEXTS,
    task=Task.ONE_LABEL,
    teacher_texts="",
)
FLOPS = flops_model(
    BertConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64)
)


def job(settings: ScoreSettings | LabelSettings = SCORE, **changes: Any) -> JobDescription:
    """A description, some of its settings changed."""
    return JobDescription(settings=replace(settings, **changes), inputs=(INPUT,))


def write_shards(
    layout: OutputLayout,
    *,
    rows: tuple[int, ...] = (3, 1),
    rejected: tuple[int, ...] = (0, 1),
    of: JobDescription,
    not_finite: bool = False,
    **metadata: str,
) -> None:
    """Write shards of so many rows."""
    schema = with_metadata(SCHEMA, {"fingerprint": of.fingerprint, **metadata})
    for name, num_rows, num_rejected in zip(NAMES, rows, rejected, strict=False):
        with ShardWriter(layout, name, schema) as shard:
            shard.write(pa.table({"a": list(range(num_rows))}, schema=SCHEMA))
            counts = {"rejected": num_rejected, "exit_layer_1": num_rows}
            shard.finish(counts | ({"not_finite": num_rejected} if not_finite else {}), None)


def score_manifest(**fields: Any) -> ScoreManifest:
    """What `ScoreTask.manifest` does."""
    return ScoreManifest(**fields, model="m", flops=FLOPS, certificate=None)


def label_manifest(**fields: Any) -> LabelManifest:
    """What `LabelTask.manifest` does."""
    return LabelManifest(**fields, teacher="t")


def finished(
    layout: OutputLayout, of: JobDescription, *, max_rejected: float = 1.0, plan: Plan = PLAN
) -> ScoreManifest | LabelManifest:
    """Commit a job whose shards are written."""
    return commit(
        layout,
        of,
        plan,
        labels=("é", "b"),
        versions={"torch": "1"},
        build=score_manifest if isinstance(of.settings, ScoreSettings) else label_manifest,
        max_rejected=max_rejected,
    )


def done(layout: OutputLayout, of: JobDescription) -> ScoreManifest | LabelManifest:
    """Claim a directory, write its shards and commit."""
    claim_output(layout, of, overwrite=False)
    write_shards(layout, of=of)
    return finished(layout, of)


class Store(FileSystem):
    """Files under names, and nothing else."""

    files: ClassVar[dict[str, bytes]] = {}

    @classmethod
    def scheme(cls) -> str:
        return "teststore"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        pass

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for name in sorted(self.files):
            if name.startswith(dir_or_prefix):
                yield self.metadata(name)

    def create(self, path: str, *_: Any, **__: Any) -> io.BytesIO:
        files = self.files

        class Upload(io.BytesIO):
            def close(self) -> None:
                if not self.closed:
                    files[path] = self.getvalue()
                super().close()

        return Upload()

    def open(self, path: str, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(self.files[path])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            self.files[destination] = self.files[source]

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            self.files[destination] = self.files.pop(source)

    def exists(self, path: str) -> bool:
        return path in self.files

    def size(self, path: str) -> int:
        return len(self.files[path])

    def last_updated(self, path: str) -> float:
        return 0.0

    def checksum(self, path: str) -> str:
        return hashlib.md5(self.files[path]).hexdigest()

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, len(self.files[path]))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            if path not in self.files:
                raise BeamIOError("there is no such file", {path: KeyError(path)})
            del self.files[path]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Files of an empty object store."""
    files: dict[str, bytes] = {}
    monkeypatch.setattr(Store, "files", files)
    return files
