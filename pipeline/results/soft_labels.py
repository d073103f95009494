"""Finished soft-label shards as batches to train on: a seeded order, and never the calibration split."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from model.errors import InputError
from model.training.batching import bucketed_batches, step_seed
from model.training.soft_labelled_texts import SoftLabelledTexts, concatenate
from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import LabelManifest, read_manifest
from pipeline.contract.shards import read_shard
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample

# Enough rows of different shards at once that an ordered corpus is mixed.
SHUFFLE_BUFFER_ROWS = 1 << 16
HELD_OUT_SHARE = 0.05
MAX_HELD_OUT_ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class SoftLabels:
    """A finished output of `label-teacher`. A `SoftLabelSource`, read shard by shard at each epoch.

    Attributes:
        layout: its directory.
        manifest: its manifest.
        num_train_rows: rows to train on.
        held_out_share: share of the train split's texts, drawn by hash, that branches are judged by.
    """

    layout: OutputLayout
    manifest: LabelManifest
    num_train_rows: int
    held_out_share: float

    @classmethod
    def open(cls, directory: str) -> SoftLabels:
        """Open a directory, counting its rows.

        Raises:
            ArtifactError: if it is no finished output of `label-teacher`.
        """
        layout = OutputLayout(directory)
        manifest = read_manifest(layout, LabelManifest)
        num_rows = manifest.counts.get(schema.TRAIN_SPLIT, 0)
        share = min(HELD_OUT_SHARE, MAX_HELD_OUT_ROWS / num_rows) if num_rows else 0.0
        num_held_out = sum(
            int(held_out.sum())
            for name in manifest.shard_names
            for batch in read_shard(layout, name, columns=[schema.SPLIT, schema.TEXT_HASH])
            for _, held_out in [_split_masks(batch, share)]
        )
        return cls(
            layout=layout,
            manifest=manifest,
            num_train_rows=num_rows - num_held_out,
            held_out_share=share,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""
        return self.manifest.labels

    @property
    def num_calibration_rows(self) -> int:
        """Rows of the calibration split, equal texts counted each time."""
        return self.manifest.counts.get(schema.CALIBRATION_SPLIT, 0)

    @property
    def max_length(self) -> int:
        """Tokens that the teacher's texts were cut to."""
        return self.manifest.settings.max_length

    @property
    def has_pairs(self) -> bool:
        """Whether the texts are pairs."""
        return self.manifest.settings.columns.text_pair is not None

    def check_trainable(self) -> None:
        """Refuse to train on nothing.

        Raises:
            InputError: if there is no row to train on.
        """
        if not self.num_train_rows:
            raise InputError(
                f"{self.layout.directory!r} has no rows to train on: all of its train split are held out; "
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
        for buffer, is_last in _mark_last(self._shuffle_buffers(generator)):
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
        parts = [part for name in self.manifest.shard_names for part in self._read(name, held_out=True)]
        return concatenate(parts) if parts else None

    def train_hashes(self) -> Iterator[bytes]:
        """Yield the hash of every text to train on."""
        for name in self.manifest.shard_names:
            for batch in read_shard(self.layout, name, columns=[schema.SPLIT, schema.TEXT_HASH]):
                train_rows, _ = _split_masks(batch, self.held_out_share)
                yield from batch[schema.TEXT_HASH].filter(pa.array(train_rows)).to_pylist()

    def calibration(self, max_rows: int) -> tuple[pa.Table, int]:
        """Return the calibration split's distinct texts in the order of their hashes, and how many there are.

        Args:
            max_rows: most texts to return; those with the smallest hashes.

        Returns:
            A table with the columns of a soft-label shard; of equal texts the first row of the first shard.
        """
        in_calibration = pc.field(schema.SPLIT) == schema.CALIBRATION_SPLIT
        hashes: set[bytes] = set()
        for name in self.manifest.shard_names:
            for batch in read_shard(self.layout, name, columns=[schema.SPLIT, schema.TEXT_HASH]):
                hashes.update(batch.filter(in_calibration)[schema.TEXT_HASH].to_pylist())
        parts, missing = [], set(heapq.nsmallest(max_rows, hashes))
        for name in self.manifest.shard_names:
            for batch in read_shard(self.layout, name):
                rows = []
                for row, text_hash in enumerate(batch[schema.TEXT_HASH].to_pylist()):
                    if text_hash in missing:
                        missing.remove(text_hash)
                        rows.append(row)
                parts.append(batch.take(pa.array(rows, pa.int64())))
        table = pa.Table.from_batches(parts)
        order = np.argsort(np.array(table[schema.TEXT_HASH].to_pylist(), dtype=object), kind="stable")
        return table.take(pa.array(order)), len(hashes)

    def _shuffle_buffers(self, generator: torch.Generator) -> Iterator[SoftLabelledTexts]:
        names = self.manifest.shard_names
        parts: list[SoftLabelledTexts] = []
        for index in torch.randperm(len(names), generator=generator).tolist():
            for part in self._read(names[index], held_out=False):
                parts.append(part)
                if sum(map(len, parts)) >= SHUFFLE_BUFFER_ROWS:
                    yield concatenate(parts)
                    parts = []
        if parts:
            yield concatenate(parts)

    def _read(self, name: str, *, held_out: bool) -> Iterator[SoftLabelledTexts]:
        columns = [
            schema.TEXT,
            *([schema.TEXT_PAIR] if self.has_pairs else []),
            schema.TEXT_HASH,
            schema.SPLIT,
            schema.TEACHER_LOGITS,
            schema.NUM_TOKENS,
        ]
        for batch in read_shard(self.layout, name, columns=columns):
            train_rows, held_out_rows = _split_masks(batch, self.held_out_share)
            rows = batch.filter(pa.array(held_out_rows if held_out else train_rows))
            if len(rows):
                yield SoftLabelledTexts(
                    texts=rows[schema.TEXT].to_pylist(),
                    text_pairs=rows[schema.TEXT_PAIR].to_pylist() if self.has_pairs else None,
                    logits=rows[schema.TEACHER_LOGITS].flatten().to_numpy().reshape(len(rows), -1),
                    num_tokens=rows[schema.NUM_TOKENS].to_numpy().astype(np.int64),
                )


def _split_masks(
    batch: pa.RecordBatch, held_out_share: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which rows are to train on and which are held out; the calibration split is neither."""
    is_train = np.asarray(batch[schema.SPLIT].to_pylist(), dtype=object) == schema.TRAIN_SPLIT
    is_held_out = in_hash_sample(batch[schema.TEXT_HASH].to_pylist(), held_out_share, HashStream.HELD_OUT)
    return is_train & ~is_held_out, is_train & is_held_out


def _mark_last(buffers: Iterator[SoftLabelledTexts]) -> Iterator[tuple[SoftLabelledTexts, bool]]:
    """Yield each buffer and whether it is the last."""
    previous = next(buffers, None)
    for buffer in buffers:
        assert previous is not None
        yield previous, False
        previous = buffer
    if previous is not None:
        yield previous, True
