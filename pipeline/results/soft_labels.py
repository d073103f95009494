"""Finished soft-label shards as batches to train on: a seeded order, and never the calibration split."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch

from model.answers.task import Task
from model.errors import InputError, ParameterError
from model.guarantee.unit import Unit
from model.training.batching import bucketed_batches, step_seed
from model.training.soft_labelled_texts import SoftLabelledTexts, concatenate, mark_last
from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import LabelManifest, read_manifest
from pipeline.contract.shards import read_shard
from pipeline.contract.storage import one_spelling
from pipeline.results.alike_outputs import check_alike
from pipeline.results.kept_true_labels import KeptTrueLabels
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample

# Enough rows of different shards at once that an ordered corpus is mixed.
SHUFFLE_BUFFER_ROWS = 1 << 16
HELD_OUT_SHARE = 0.05
MAX_HELD_OUT_ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class SoftLabels:
    """Finished outputs of `label-teacher`. A `SoftLabelSource`, read shard by shard at each epoch.

    Attributes:
        outputs: the directories and their manifests: of one teacher, and cut to one length.
        num_train_rows: rows to train on.
        held_out_share: share of the train split's units, drawn by hash, that branches are judged by.
        true_labels: column of true labels that are learnt from, too; None for none.
    """

    outputs: tuple[tuple[OutputLayout, LabelManifest], ...]
    num_train_rows: int
    held_out_share: float
    true_labels: KeptTrueLabels | None = None

    @classmethod
    def open(cls, directories: str | Sequence[str]) -> SoftLabels:
        """Open one directory or several, counting their rows.

        Raises:
            ArtifactError: if one is no finished output of `label-teacher`, or they are of different teachers
                or kinds of text.
        """
        names = [directories] if isinstance(directories, str) else directories
        # However a local directory is spelt, it is read once, under its first spelling.
        spelt: dict[str, str] = {}
        for name in names:
            spelt.setdefault(one_spelling(name).rstrip("/"), name)
        layouts = [OutputLayout(name) for name in spelt.values()]
        outputs = tuple((layout, read_manifest(layout, LabelManifest)) for layout in layouts)
        check_alike(outputs)
        num_rows = sum(manifest.counts.get(schema.TRAIN_SPLIT, 0) for _, manifest in outputs)
        share = min(HELD_OUT_SHARE, MAX_HELD_OUT_ROWS / num_rows) if num_rows else 0.0
        opened = cls(outputs=outputs, num_train_rows=0, held_out_share=share)
        batches = opened.read_shards(columns=[schema.SPLIT, schema.UNIT_HASH])
        num_train_rows = sum(len(opened._train_split(batch, held_out=False)) for batch in batches)
        return replace(opened, num_train_rows=num_train_rows)

    def with_true_labels(self, column: str) -> SoftLabels:
        """Return these with the true labels of a column.

        Raises:
            ParameterError: if they are of a model that does not answer with one label.
            FastBertJobsError: what `KeptTrueLabels.find` raises.
        """
        if self.task is not Task.ONE_LABEL:
            raise ParameterError(
                f"`true_labels` {column} is of models that answer with one label, and {self.name!r} is of "
                f"{self.task}: leave it out"
            )
        return replace(self, true_labels=KeptTrueLabels.find(self.outputs, column))

    def holding_out(self, share: float) -> SoftLabels:
        """Return these with that share held out, where it is smaller: of more, branches have learnt some."""
        return replace(self, held_out_share=min(self.held_out_share, share))

    @property
    def directories(self) -> tuple[str, ...]:
        """Where they are."""
        return tuple(layout.directory for layout, _ in self.outputs)

    @property
    def name(self) -> str:
        """What the user calls them."""
        return ", ".join(self.directories)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the jobs that made them."""
        return tuple(manifest.fingerprint for _, manifest in self.outputs)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""
        return self._manifest.labels

    @property
    def task(self) -> Task:
        """What the logits mean."""
        return self._manifest.settings.task

    @property
    def num_calibration_rows(self) -> int:
        """Rows of the calibration split, equal texts counted each time."""
        return sum(manifest.counts.get(schema.CALIBRATION_SPLIT, 0) for _, manifest in self.outputs)

    @property
    def max_length(self) -> int:
        """Tokens that the teacher's texts were cut to."""
        return self._manifest.settings.max_length

    @property
    def teacher_hash(self) -> str:
        """Of the teacher's checkpoint."""
        return self._manifest.settings.model_hash

    @property
    def unit(self) -> Unit:
        """What the splits are drawn by, and a promise is of."""
        return self._manifest.settings.unit

    @property
    def has_pairs(self) -> bool:
        """Whether the texts are pairs."""
        return self._manifest.settings.columns.text_pair is not None

    @property
    def _manifest(self) -> LabelManifest:
        """What is alike in all manifests."""
        return self.outputs[0][1]

    def only(self, fingerprints: Collection[str]) -> SoftLabels | None:
        """Return those of some jobs as if opened without the others; None where there are none."""
        directories = [
            layout.directory for layout, manifest in self.outputs if manifest.fingerprint in fingerprints
        ]
        if len(directories) == len(self.outputs):
            return self
        return SoftLabels.open(directories) if directories else None

    def check_trainable(self) -> None:
        """Refuse to train on nothing.

        Raises:
            InputError: if there is no row to train on.
        """
        if not self.num_train_rows:
            raise InputError(
                f"{self.name!r} has no rows to train on: all of its train split are held out; "
                "label more rows, or with a smaller `calibration_fraction`"
            )

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return the number of batches of an epoch."""
        return -(-self.num_train_rows // batch_size)

    def batches(self, epoch: int, *, batch_size: int, seed: int) -> Iterator[SoftLabelledTexts]:
        """Yield the training batches of an epoch: every train row once, in an order that seed and epoch set.

        Shards come in a shuffled order and go through a buffer, so that a batch mixes rows of several;
        rows of a batch are of like length, longest first.
        """
        generator = torch.Generator().manual_seed(step_seed(seed, epoch))
        remainder: SoftLabelledTexts | None = None
        for buffer, is_last in mark_last(self._shuffle_buffers(generator)):
            rows = buffer if remainder is None else concatenate([remainder, buffer])
            order = torch.randperm(len(rows), generator=generator).tolist()
            # Batches are whole, but for the last: rows that fill none go into the next buffer.
            num_remaining = 0 if is_last else len(rows) % batch_size
            remainder = rows.take(order[len(order) - num_remaining :])
            if num_remaining == len(rows):
                continue
            batched = rows.take(order[: len(order) - num_remaining])
            lengths = torch.from_numpy(batched.num_tokens)
            for batch in bucketed_batches(lengths, batch_size, generator=generator):
                yield batched.take(batch)

    def held_out(self) -> SoftLabelledTexts | None:
        """Return the rows that branches are judged by, None where the corpus is too small to have any."""
        parts = [part for shard in self._shards for part in self._read(shard, held_out=True)]
        return concatenate(parts) if parts else None

    def train_hashes(self) -> Iterator[bytes]:
        """Yield the hash of every text to train on."""
        return self._text_hashes(held_out=False)

    def held_out_hashes(self) -> Iterator[bytes]:
        """Yield the hash of every text that branches are judged by."""
        return self._text_hashes(held_out=True)

    @property
    def _shards(self) -> list[tuple[OutputLayout, str]]:
        """Every shard: the directory that it is in, and its file name."""
        return [(layout, name) for layout, manifest in self.outputs for name in manifest.shard_names]

    @property
    def text_columns(self) -> list[str]:
        """What is read of each text."""
        pair = [schema.TEXT_PAIR] if self.has_pairs else []
        return [
            schema.TEXT, *pair, schema.TEXT_HASH, schema.UNIT_HASH, schema.SPLIT, schema.TEACHER_LOGITS,
            schema.NUM_TOKENS, *([self.true_labels.column] if self.true_labels else []),
        ]  # fmt: skip

    def read_shards(self, *, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all shards, in order."""
        for layout, name in self._shards:
            yield from read_shard(layout, name, columns=columns)

    def read_train_split(self, *, columns: list[str], held_out: bool) -> Iterator[pa.RecordBatch]:
        """Yield the rows to train on, or those that branches are judged by, in order.

        Args:
            columns: to read besides those of the split and of the unit's hash.
            held_out: which of the two.
        """
        for batch in self.read_shards(columns=[schema.SPLIT, schema.UNIT_HASH, *columns]):
            yield self._train_split(batch, held_out=held_out)

    def _text_hashes(self, *, held_out: bool) -> Iterator[bytes]:
        for batch in self.read_train_split(columns=[schema.TEXT_HASH], held_out=held_out):
            yield from batch[schema.TEXT_HASH].to_pylist()

    def _shuffle_buffers(self, generator: torch.Generator) -> Iterator[SoftLabelledTexts]:
        shards = self._shards
        parts: list[SoftLabelledTexts] = []
        for index in torch.randperm(len(shards), generator=generator).tolist():
            for part in self._read(shards[index], held_out=False):
                parts.append(part)
                if sum(map(len, parts)) >= SHUFFLE_BUFFER_ROWS:
                    yield concatenate(parts)
                    parts = []
        if parts:
            yield concatenate(parts)

    def _read(self, shard: tuple[OutputLayout, str], *, held_out: bool) -> Iterator[SoftLabelledTexts]:
        layout, name = shard
        for batch in read_shard(layout, name, columns=self.text_columns):
            rows = self._train_split(batch, held_out=held_out)
            if len(rows):
                yield SoftLabelledTexts(
                    texts=rows[schema.TEXT].to_pylist(),
                    text_pairs=rows[schema.TEXT_PAIR].to_pylist() if self.has_pairs else None,
                    logits=rows[schema.TEACHER_LOGITS].flatten().to_numpy().reshape(len(rows), -1),
                    num_tokens=rows[schema.NUM_TOKENS].to_numpy().astype(np.int64),
                    true_labels=self.true_labels.of_rows(rows) if self.true_labels else None,
                )

    def _train_split(self, batch: pa.RecordBatch, *, held_out: bool) -> pa.RecordBatch:
        """Return the rows to train on, or those that are held out; what may calibrate is neither.

        A unit that stands in two directories may be of the train split in one of them alone, where the shares
        differ, and a group's rows may be of both where the teacher has learnt some. Of a single directory of
        texts the split alone tells: a text that was drawn for calibration, but learnt by the teacher, is one
        to train on.
        """
        hashes = batch[schema.UNIT_HASH].to_pylist()
        is_train = np.asarray(batch[schema.SPLIT].to_pylist(), dtype=object) == schema.TRAIN_SPLIT
        if len(self.outputs) > 1 or self.unit is not Unit.TEXTS:
            largest_share = max(manifest.settings.calibration_fraction for _, manifest in self.outputs)
            is_train &= ~in_hash_sample(hashes, largest_share, HashStream.CALIBRATION)
        is_held_out = in_hash_sample(hashes, self.held_out_share, HashStream.HELD_OUT)
        return batch.filter(pa.array(is_train & (is_held_out == held_out)))
